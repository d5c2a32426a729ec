"""The examples are run in a copy of the tree alone: here they would import what is not there."""

collect_ignore = ["guard", "backend"]
