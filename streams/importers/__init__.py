"""Files of others to canonical events, in time order, with an account of what was left out and why.

>>> events, summary = online_retail([
...     "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
...     "C536379,84406B,COAT HANGER,-2,2010-12-01 09:41,2.75,14527,United Kingdom",
... ])
>>> [(event.id, str(event.total.amount)) for event in events], dict(summary.events)
([('or-C536379', '5.50')], {'order_refunded': 1})
"""

from .base import First, Import, ImportFileError, Source, Summary
from .ecom import ecom
from .eshop import eshop
from .online_retail import online_retail

__all__ = ["First", "Import", "ImportFileError", "Source", "Summary", "ecom", "eshop", "online_retail"]
