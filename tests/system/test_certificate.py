# SPDX-License-Identifier: MIT
"""The main job: a real CA, a real client, and visitors who notice nothing."""

import pytest

from harness.acme import Authority, Client
from harness.product import REDIRECTS
from harness.visitors import assert_went_by, way_of


@pytest.fixture
def authority(network, tmp_path, family):
    made = Authority(network, tmp_path, family)
    yield made
    made.stop()


@pytest.fixture
def client(network, tmp_path, authority):
    return Client(network.server, tmp_path, authority)


@pytest.mark.parametrize("redirect", REDIRECTS)
def test_certificate_is_issued_while_visitors_are_served(
        redirect, family, product, web, client, send_visitors):
    visitors = send_visitors(family)
    visitors.wait_for_more(100)
    product.start(f"--redirect={redirect}")
    visitors.wait_for_more(100, way_of(redirect))
    issued = client.issue(web.name)
    visitors.wait_for_more(100, way_of(redirect))
    product.stop()
    visitors.wait_for_more(100)
    totals = visitors.finish_without_failures()

    assert issued.names == [web.name]
    assert "Pebble" in issued.issuer
    assert_went_by(redirect, totals)


@pytest.mark.parametrize("family", [4], ids=["v4"])
def test_no_certificate_without_the_program(web, client):
    """The control: the certificate above came through the redirect."""
    result = client.order(web.name)
    assert result.returncode != 0
    assert "acme: error" in result.stdout
