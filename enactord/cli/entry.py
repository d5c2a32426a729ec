"""Where the programs begin: an interrupt ends them without a word, also while their parts are imported."""

import signal


def enactorctl() -> None:
    """Run enactorctl."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the program itself answers it: see `Program.main`
    from enactord.cli.ctl import main

    main()


def enactord() -> None:
    """Run enactord."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from enactord.cli.daemon import main

    main()
