"""Settings: one table of options, limits and defaults, and every surface asks it."""

import argparse
import math
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest

from alignmeter.cells.matrix import read_matrix
from alignmeter.cells.settings import (
    DEFAULTS,
    SETTINGS,
    Settings,
    default_words,
    kind_of,
    read_settings,
)
from alignmeter.cli.cell import cell
from alignmeter.cli.run import run
from alignmeter.errors import InputError
from alignmeter.plugin.options import _FLAGS, add_options, settings_for

QUICK = read_matrix("quick")
WRONG = [
    ("steps", 0, "at least 1"),
    ("warmup", 0, "at least 1"),
    ("timeout_s", 0.0, "more than 0"),
    ("timeout_s", math.nan, "more than 0"),
    ("timeout_s", math.inf, "more than 0"),
    ("sample_hz", -1.0, "0 to 1000"),
    ("sample_hz", 1000.5, "0 to 1000"),
]


def test_every_setting_has_a_row_and_its_default_is_allowed():
    """Or there is none, and the row says what holds then."""
    assert SETTINGS.keys() == {field.name for field in fields(Settings)}
    for name, row in SETTINGS.items():
        default = getattr(DEFAULTS, name)
        assert row.unset if default is None else row.allows(default)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_help_text_names_the_default(name):
    (option,) = [option for option in run.params if option.name == name]
    if kind_of(name) is not bool:
        assert f"(default {default_words(name)}" in option.help


def test_the_default_limit_in_words():
    assert kind_of("timeout_s") is float
    assert default_words("timeout_s") == "600 s, and what its models take to build"
    assert default_words("steps") == "5"


def test_what_is_given_comes_before_the_matrix_and_that_before_the_default():
    matrix = replace(QUICK, steps=7, warmup=3, operators=True)
    nothing = dict.fromkeys(SETTINGS)
    assert read_settings(nothing) == read_settings({}) == Settings()
    assert read_settings(nothing, matrix) == Settings(steps=7, warmup=3, operators=True)
    given = {**nothing, "steps": 1, "seed": 4, "sample_hz": 0.0}
    assert read_settings(given, matrix) == Settings(
        steps=1, warmup=3, seed=4, operators=True, sample_hz=0.0
    )
    with pytest.raises(TypeError, match="step"):
        read_settings({"step": 3})


@pytest.mark.parametrize(("name", "value", "limits"), WRONG)
def test_a_value_beyond_its_limits_is_named_by_its_option(name, value, limits):
    flag = SETTINGS[name].flag
    with pytest.raises(InputError, match=f"^{flag} is {value}; give {limits}$"):
        read_settings({name: value})
    with pytest.raises(InputError, match=f"^--other is {value}; give"):
        read_settings({name: value}, flags={name: "--other"})


@pytest.mark.parametrize("name", ["steps", "warmup"])
def test_a_matrix_has_the_limits_of_the_options(tmp_path, name):
    path = tmp_path / "m.toml"
    path.write_text(f"schema = 1\n{name} = 0\n")
    with pytest.raises(InputError, match=f"{name} is 0; give a whole number of at least 1"):
        read_matrix(str(path))


def of_command(command, arguments):
    """The settings that a command of click would measure with."""
    asked = command.make_context(command.name, list(arguments))
    given = {name: asked.params[name] for name in SETTINGS}
    return read_settings(given, QUICK if command is run else None)


def of_pytest(arguments):
    """The settings that `pytest --benchmark` would measure with."""
    parser, names = argparse.ArgumentParser(), {}

    def addoption(*spellings, **about):
        names.update(dict.fromkeys(spellings, parser.add_argument(*spellings, **about).dest))

    add_options(SimpleNamespace(addoption=addoption), short=True)
    found = parser.parse_args([*arguments])
    config = SimpleNamespace(getoption=lambda name: getattr(found, names[name]))
    return settings_for(config, QUICK)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((), Settings()),
        (("--steps", "9", "--warmup", "1"), Settings(steps=9, warmup=1)),
        (("--seed", "3", "--operators"), Settings(seed=3, operators=True)),
        (("--timeout", "2.5", "--sample-hz", "0"), Settings(timeout_s=2.5, sample_hz=0.0)),
    ],
)
def test_the_same_options_mean_the_same_on_every_surface(arguments, wanted):
    assert (QUICK.steps, QUICK.warmup) == (DEFAULTS.steps, DEFAULTS.warmup)
    to_pytest = [_FLAGS["timeout_s"] if a == "--timeout" else a for a in arguments]
    found = of_command(run, arguments), of_command(cell, arguments), of_pytest(to_pytest)
    assert found == (wanted, wanted, wanted)


@pytest.mark.parametrize(("name", "value", "limits"), WRONG)
def test_what_one_surface_refuses_all_refuse(name, value, limits):
    import click

    for command in (run, cell):
        with pytest.raises((click.BadParameter, InputError), match=r"is not in the range|give"):
            of_command(command, [SETTINGS[name].flag, str(value)])
    with pytest.raises(InputError, match=f"give {limits}"):
        of_pytest([_FLAGS.get(name, SETTINGS[name].flag), str(value)])
