"""The frontend put together: parts, routes, one request's way in and out."""
