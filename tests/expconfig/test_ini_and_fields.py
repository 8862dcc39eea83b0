"""INI text and typed fields."""

from __future__ import annotations

import configparser
import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsource.errors import ConfigError
from ecogsource.expconfig import fields
from ecogsource.expconfig.bunch import Bunch, nearest
from ecogsource.expconfig.ini import parse_ini, read_ini

WORD = st.text("abcdefgXYZ_0123456789", min_size=1, max_size=6)
VALUE = st.text("abc XYZ019.,/=:%()-", max_size=12).map(str.strip)


@given(
    st.dictionaries(
        WORD,
        st.dictionaries(WORD, VALUE, max_size=4).filter(
            lambda keys: len({key.lower() for key in keys}) == len(keys)
        ),
        max_size=4,
    ).filter(lambda sections: "DEFAULT" not in sections),
    st.sampled_from([" = ", "=", " : ", ":"]),
)
def test_reads_what_configparser_reads(sections: dict[str, dict[str, str]], delimiter: str) -> None:
    lines = ["# a comment", ""]
    for name, keys in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key}{delimiter}{value}" for key, value in keys.items()]
        lines.append("; another")
    text = "\n".join(lines)
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    expected = {name: dict(parser[name]) for name in parser.sections()}
    assert parse_ini(text) == expected


@given(st.one_of(st.text(max_size=60), st.text("[]=:#;ab \n\t%()", max_size=60)))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        sections = parse_ini(text)
        assert all(isinstance(keys, dict) for keys in sections.values())


def test_indented_lines_continue_a_value() -> None:
    assert parse_ini("[a]\nkey = one\n  two\n\tthree\nnext = 4") == {
        "a": {"key": "one\ntwo\nthree", "next": "4"}
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\nx = 1\n[b]\n[a]", r"line 4: duplicate section \[a\].*file '.*f\.txt'.*section 'a'"),
        ("[a]\nx = 1\nX = 2", r"line 3: duplicate key, already given as 'x'.*key 'X'"),
        ("x = 1", "line 1: 'x = 1' stands before any"),
        ("[a]\nnonsense", "line 2: 'nonsense' is not 'key = value'"),
        ("[a]\n = 3", "is not 'key = value'"),
        ("[a\nx = 1", r"'\[a' is not a \[section\]"),
        ("[ ]", r"is not a \[section\]"),
    ],
)
def test_malformed_text_names_the_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_ini(text, Path("f.txt"))


def test_unreadable_files(tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(b"[a]\nx = \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8 text.*bad.txt"):
        read_ini(path)
    with pytest.raises(ConfigError, match=r"cannot be read.*none\.txt"):
        read_ini(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("mapped", "False", False),
        ("mapped", "true", True),
        ("mapped", "R+", "r+"),
        ("car", "yes", True),
        ("use_stored", "0", False),
        ("resample_rate", "2000", 2000),
        ("resample_rate", "2e3", 2000.0),
        ("resample_rate", "None", None),
        ("bandpass", "(2, 100)", (2, 100)),
        ("bandpass", "-1 100.5", (-1, 100.5)),
        ("notches", "60, 120", (60, 120)),
        ("notches", "", None),
        ("trigger_idx", "3", 3),
        ("trigger_idx", "0, 1", (0, 1)),
        ("electrode_connectors", "'a', b", ("a", "b")),
        ("tones_tab", "1000", "1000"),
        ("tones_tab", "tab.txt", "tab.txt"),
        ("exp_path", "/data/x", "/data/x"),
        ("exp_path", "x", "/folder/x"),
        ("nwk_path", "None", None),
        ("never_heard_of", "1.5", "1.5"),
        ("never_heard_of", "none", None),
        ("Resample_Rate", "5", 5),
    ],
)
def test_typed_values(name: str, text: str, value: object) -> None:
    key, got = fields.parse_field(
        name, text, fields.BASE_TABLE, filename=Path("/folder/s.txt"), section="session"
    )
    assert got == value
    assert type(got) is type(value)
    assert key == (name.lower() if name.lower() in fields.BASE_TABLE else name)


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("mapped", "perhaps", "True or False or r[+] or r"),
        ("resample_rate", "fast", "a number, or None"),
        ("car", "", "True or False"),
        ("trigger_idx", "", None),
    ],
)
def test_values_that_are_not_allowed(name: str, text: str, allowed: str | None) -> None:
    def parse() -> tuple[str, object]:
        return fields.parse_field(
            name, text, fields.BASE_TABLE, filename=Path("s.txt"), section="rec"
        )

    if allowed is None:
        assert parse() == (name, None)
        return
    with pytest.raises(ConfigError, match=f"{allowed}.*'s.txt'.*'rec'.*'{name}'"):
        parse()


def test_bunch_is_a_dictionary_with_attributes() -> None:
    bunch = Bunch(electrode="psv_61")
    bunch.daq = "x"
    assert bunch["daq"] == "x"
    assert "electrode" in dir(bunch)
    copied = bunch.copy()
    del copied.daq
    assert "daq" in bunch
    assert type(copied) is Bunch
    assert repr(bunch) == "electrode : 'psv_61'\ndaq       : 'x'"
    assert repr(Bunch()) == "Bunch()"
    with pytest.raises(AttributeError, match="did you mean 'electrode'"):
        _ = bunch.electorde
    with pytest.raises(AttributeError, match="has no 'other'"):
        del bunch.other


def test_nearest_names() -> None:
    assert nearest("Electrod", ["electrode", "daq"]) == "; did you mean 'electrode'?"
    assert nearest("zzz", ["electrode"]) == ""
    assert nearest("zzz", ["electrode"], ".") == "."
