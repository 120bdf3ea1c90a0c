"""Weavr's bulk processes, for bulkstatus.

https://api.weavr.io/products/multi/openapi/manage/bulks.md
"""

from bulkstatus_weavr._adapter import Weavr

__all__ = ["Weavr"]
