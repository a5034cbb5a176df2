"""Pictures and videos: from files to pixels."""
