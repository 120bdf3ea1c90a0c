"""DRUID's bulk user updates, read through its ActivityID API."""

from bulkstatus_druid._adapter import Druid

__all__ = ["Druid"]
