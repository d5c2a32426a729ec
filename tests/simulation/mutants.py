def print_table(*a, **k): return 0
