"""Hours, energy and money, by hand; prices are read strictly."""

import csv
import html
import io
import re
import tomllib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_cells import A_DEVICE, make_cell_records
from made_ranks import make_ranks

from alignmeter.analysis.cost import cost_metric, money_of
from alignmeter.analysis.likeness import groups
from alignmeter.analysis.prices import Prices, read_prices
from alignmeter.errors import InputError
from alignmeter.records.folder import Loaded
from alignmeter.terminal.summary import summary_parts
from alignmeter.terminal.tables import lines
from alignmeter_reports import write_report
from alignmeter_reports.cells import cell_rows
from alignmeter_reports.sections.cost import cost_view

GOOD = 'schema = 1\ncurrency = "EUR"\n'
PRICES = Prices(
    currency="EUR", per_hour={"H100-SXM": 3.0}, electricity_per_kwh=0.2, pue=1.5
)  # fmt: skip


def view(records, prices=None):
    found = groups(records)
    return cost_view(cell_rows(found), found, prices)


def dpo_and_ppo(joules=None):
    """Steps of 3.6 s and 7.2 s: an hour and two per 1000."""
    return make_cell_records([3.6] * 3, joules=joules, accelerator="cuda") + make_cell_records(
        [7.2] * 3, joules=joules, accelerator="cuda", method="ppo"
    )


def test_without_prices_there_are_hours_and_energy_and_no_money():
    """3.6 s x 1000 = 1 h; 3600 J x 1000 = 1 kWh; 256 tokens a step: 1e6 take 3906 steps."""
    found = view(dpo_and_ppo(joules=3600.0))
    dpo = found.rows[0]
    assert dpo.hours == pytest.approx(1.0)
    assert dpo.energy_kwh == pytest.approx(1.0)
    assert dpo.hours_per_million == pytest.approx(1e6 / 256 * 3.6 / 3600)
    assert (dpo.money.per_steps, dpo.money.per_million) == (None, None)
    (saving,) = found.savings
    assert saving.hours == pytest.approx(1.0)
    assert saving.money is None
    assert saving.evidence.figure.value == pytest.approx(0.5)


def test_money_is_hours_and_electricity_with_the_buildings_share():
    """1 h x 3 EUR + 1 kWh x 1.5 x 0.20 EUR = 3.30 EUR; PPO: 2 h and the same energy."""
    found = view(dpo_and_ppo(joules=3600.0), PRICES)
    dpo, ppo = found.rows
    assert dpo.money.per_steps == pytest.approx(3.3)
    assert ppo.money.per_steps == pytest.approx(6.3)
    assert dpo.money.per_million == pytest.approx(3.3 / 256_000 * 1e6)
    assert found.savings[0].money == pytest.approx(3.0)


def test_a_step_of_several_devices_costs_the_hours_of_each():
    """3.6 s x 1000 on two devices are 2 h, 6 EUR; of two processes of one device they are 1 h."""
    apart = make_ranks(peaks=[100, 100], seconds=[3.6, 3.6])
    apart = msgspec.structs.replace(apart, provenance=dpo_and_ppo()[0].provenance)
    bare = msgspec.structs.replace
    shared = bare(apart, ranks=[bare(rank, device="GPU-0") for rank in apart.ranks])
    prices = Prices(currency="EUR", per_hour={"H100-SXM": 3.0})
    for record, hours in ((apart, 2.0), (shared, 1.0)):
        (row,) = view([record], prices).rows
        assert row.hours == pytest.approx(hours)
        assert row.money.per_steps == pytest.approx(3.0 * hours)
        assert money_of(record, prices).per_steps == pytest.approx(3.0 * hours)


def test_what_is_not_known_makes_no_money():
    (dpo, _) = view(dpo_and_ppo(), PRICES).rows
    assert (dpo.money.per_steps, dpo.money.missing) == (None, "its energy was not measured")
    bare = msgspec.structs.replace  # records without a price for their device
    other = [
        bare(r, provenance=bare(r.provenance, device="TPU v9")) for r in dpo_and_ppo(joules=1.0)
    ]
    assert view(other, PRICES).rows[0].money.missing == "the prices have no TPU v9"


def test_a_devices_own_name_goes_before_its_chip():
    place = make_cell_records([1.0], accelerator="cuda")[0].provenance
    both = {"H100-SXM": 3.0, A_DEVICE["cuda"]: 2.0}
    prices = Prices(currency="EUR", per_hour=both, electricity_per_kwh=None, pue=1.0)
    assert prices.of(place) == 2.0
    assert PRICES.of(place) == 3.0
    assert PRICES.of(msgspec.structs.replace(place, partition="1g.10gb")) is None


def test_the_page_has_money_only_with_prices(tmp_path):
    records = dpo_and_ppo(joules=3600.0)
    loaded = Loaded(records=records, refused=[])
    write_report(loaded, tmp_path / "without.html")
    write_report(loaded, tmp_path / "with.html", prices=PRICES)
    without, priced = (
        html.unescape((tmp_path / f"{name}.html").read_text()) for name in ("without", "with")
    )
    assert "EUR" not in without
    assert "No prices given" in without
    assert "EUR per 1000 steps" in priced
    cost = priced[priced.index('id="cost"') :]
    assert re.search(r'<td class="n">3.3</td>', cost)


def test_the_terminal_answers_with_money_too():
    """Half the time on the same device is half the money."""
    records = dpo_and_ppo()
    prices = Prices(
        currency="EUR", per_hour={"H100-SXM": 3.0}, electricity_per_kwh=None, pue=1.0
    )  # fmt: skip
    title = cost_metric(prices).title
    shown = " ".join(" ".join(lines(summary_parts(records, prices))).split())
    assert f"{title}: saves 50 %" in shown
    assert title not in " ".join(" ".join(lines(summary_parts(records))).split())


def csv_rows(tmp_path, records, prices):
    path = tmp_path / "r.csv"
    loaded = Loaded(records=records, refused=[])
    write_report(loaded, tmp_path / "r.html", path, prices=prices)
    return list(csv.DictReader(io.StringIO(path.read_text())))


@pytest.mark.full
def test_the_csv_has_the_money_of_each_replicate(tmp_path):
    """As above, 3.30 EUR for DPO; a replicate that takes twice as long costs 3 EUR more."""
    columns = ("currency", "cost_per_1000_steps", "cost_per_million_tokens")
    records = make_cell_records([3.6, 7.2], joules=3600.0, accelerator="cuda")
    once, twice = csv_rows(tmp_path, records, PRICES)
    assert once["currency"] == "EUR"
    assert float(once["cost_per_1000_steps"]) == pytest.approx(3.3)
    assert float(once["cost_per_million_tokens"]) == pytest.approx(3.3 / 256_000 * 1e6)
    assert float(twice["cost_per_1000_steps"]) == pytest.approx(6.3)
    for rows in (
        csv_rows(tmp_path, records, None),
        csv_rows(tmp_path, make_cell_records([3.6], accelerator="cuda"), PRICES),
    ):
        assert {row[name] for row in rows for name in columns} == {""}


def test_a_file_of_prices(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(GOOD + 'pue = 1.3\nelectricity_per_kwh = 0.25\n[per_hour]\n"A 1" = 2\n')
    assert read_prices(path) == Prices(
        currency="EUR", per_hour={"A 1": 2.0}, electricity_per_kwh=0.25, pue=1.3
    )
    path.write_text(GOOD)
    assert read_prices(path) == Prices(
        currency="EUR", per_hour={}, electricity_per_kwh=None, pue=1.0
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema = ", "not valid TOML"),
        ('currency = "EUR"', "schema is missing; this version reads schema = 1"),
        ('schema = true\ncurrency = "EUR"', "schema is True"),
        ("schema = 1", "currency is missing; give its letters"),
        ('schema = 1\ncurrency = "<b>"', "currency is '<b>'"),
        (GOOD + "rates = 1", "unknown key 'rates'; known: schema, currency"),
        (GOOD + "pue = 0.9", "pue is 0.9; give a number from 1 to 5"),
        (GOOD + "pue = nan", "pue is nan"),
        (GOOD + "electricity_per_kwh = -1", "electricity_per_kwh is -1; give a number from 0"),
        (GOOD + "electricity_per_kwh = inf", "electricity_per_kwh is inf"),
        ("schema = 2\nrates = 1", "schema is 2; this version reads schema = 1"),
        (GOOD + f"electricity_per_kwh = 1{'0' * 400}", "electricity_per_kwh is 1000000"),
        (GOOD + "per_hour = 3", "per_hour is 3; write a table of prices, [per_hour]"),
        (GOOD + '[per_hour]\nH100-SXM = "3"', "per_hour.H100-SXM is '3'"),
        (GOOD + "[per_hour]\nH100-SXM = true", "per_hour.H100-SXM is True"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        read_prices(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=f"{path}: not UTF-8 text"):
        read_prices(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_prices(tmp_path / "none.toml")


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())
)


def toml(value):
    if value is None:
        return "{}"
    if isinstance(value, str):
        return (
            '"' + "".join(f"\\U{ord(c):08x}" for c in value if not 0xD800 <= ord(c) < 0xE000) + '"'
        )
    return str(value).lower() if isinstance(value, bool) else str(value)


@given(currency=VALUES, electricity=VALUES, pue=VALUES, price=VALUES)
def test_any_file_gives_prices_or_one_sentence(tmp_path_factory, currency, electricity, pue, price):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(
        f"schema = 1\ncurrency = {toml(currency)}\nelectricity_per_kwh = {toml(electricity)}\n"
        f"pue = {toml(pue)}\n[per_hour]\nx = {toml(price)}\n"
    )
    try:
        found = read_prices(path)
    except InputError as error:
        found, lines = None, str(error).removeprefix(str(path)).splitlines()
    if found is None:
        assert len(lines) == 1
    else:
        wanted = tomllib.loads(path.read_text())
        assert found.currency == wanted["currency"]
        assert found.per_hour == {"x": wanted["per_hour"]["x"]}
        assert 1 <= found.pue <= 5
