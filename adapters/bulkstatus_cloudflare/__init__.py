"""Bulk operations on Cloudflare Lists: changes to the items of IP, ASN, hostname and Bulk Redirect lists."""

from bulkstatus_cloudflare._adapter import Cloudflare

__all__ = ["Cloudflare"]
