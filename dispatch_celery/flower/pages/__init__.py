"""What each page shows: one module a page, each with a ``Page`` that says where it is and how it is read.

A page is read in a thread, by ``read(desk, query, *ids)``, into a frozen view of plain values; its template only lays
that out. So what a page says can be tested without a browser, and a template cannot reach the state server.
"""
