"""Where distributions come from: index settings, pages, files, credentials."""
