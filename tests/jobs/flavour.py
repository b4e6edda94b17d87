"""The code beside it: tests replace the word FLAVOUR."""


def taste(row):
    return "FLAVOUR"
