"""Batches of OpenAI, and of APIs that copied its Batch API: https://developers.openai.com/api/docs/guides/batch."""

from bulkstatus_openai._adapter import OpenAI

__all__ = ["OpenAI"]
