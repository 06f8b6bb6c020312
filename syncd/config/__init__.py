"""The configuration: `load` turns one TOML file into a frozen `Config`, or says everything that is wrong with it."""

from __future__ import annotations

from syncd.config.campaign import CampaignTable
from syncd.config.dedupe import Dedupe
from syncd.config.loading import config_path, load, parse, read_secret
from syncd.config.models import Config, Sync

__all__ = ["CampaignTable", "Config", "Dedupe", "Sync", "config_path", "load", "parse", "read_secret"]
