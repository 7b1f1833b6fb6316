"""A project of others, in which pytest runs with the plugin."""

from textwrap import dedent

# At the end of a run, Hypothesis takes longer than the run, as do pytest's collections of garbage.
# And some tests check the order of others.
WITHOUT = ("hypothesispytest", "unraisableexception", "randomly")
ALONE = tuple(word for name in WITHOUT for word in ("-p", f"no:{name}"))


def write_tests(project, tests):
    """Write a test module."""
    project.makepyfile(test_it=f"import pytest\n{dedent(tests)}")


def run(project, tests, *arguments):
    """Run pytest on the text of a test module."""
    write_tests(project, tests)
    return project.runpytest_inprocess(*ALONE, *arguments)


def run_in_a_process(project, tests, *arguments):
    """Run pytest on the text of a test module, in a process of its own."""
    write_tests(project, tests)
    return project.runpytest_subprocess(*ALONE, *arguments)
