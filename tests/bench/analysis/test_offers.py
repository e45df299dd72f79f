"""Which chip to take: the cheapest that has a price, else the smallest."""

from alignmeter.analysis.offers import Offer, best_offer, nearest_miss
from alignmeter.analysis.prices import Prices, read_prices
from alignmeter.records.prediction import Fit

FITS = {
    "MI300X": Fit(ok=True, spare_bytes=100),
    "H100-SXM": Fit(ok=True, spare_bytes=10),
    "A100-SXM-40GB": Fit(ok=False, spare_bytes=-5),
    "RTX-4090": Fit(ok=False, spare_bytes=-50),
}


def test_the_cheapest_is_of_those_that_fit_and_have_a_price():
    """24 GiB at 0.3 do not hold it; of 80 and 192 GiB the larger one costs less."""
    prices = Prices(currency="EUR", per_hour={"RTX-4090": 0.3, "H100-SXM": 2.8, "MI300X": 2.4})
    assert best_offer(FITS, prices) == Offer(chip="MI300X", per_hour=2.4)
    dear = Prices(currency="EUR", per_hour={"H100-SXM": 2.8})
    assert best_offer(FITS, dear) == Offer(chip="H100-SXM", per_hour=2.8)


def test_without_a_price_it_is_the_smallest():
    smallest = Offer(chip="H100-SXM", per_hour=None)
    assert best_offer(FITS, None) == smallest
    assert best_offer(FITS, Prices(currency="EUR", per_hour={"B200": 5.0})) == smallest
    assert best_offer({"RTX-4090": FITS["RTX-4090"]}, None) is None


def test_a_miss_is_of_the_chip_that_lacks_least():
    assert nearest_miss(FITS) == "A100-SXM-40GB"
    assert nearest_miss({"MI300X": FITS["MI300X"]}) is None


def test_a_device_may_be_priced_by_the_name_that_records_have(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(
        'schema = 1\ncurrency = "EUR"\n[per_hour]\n"NVIDIA GeForce RTX 4090" = 0.4\nL40S = 1\n'
    )
    prices = read_prices(path)
    assert prices.of_chip("RTX-4090") == 0.4
    assert prices.of_chip("L40S") == 1
    assert prices.of_chip("MI300X") is None
