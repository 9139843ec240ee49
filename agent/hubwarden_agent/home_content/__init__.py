"""What reads or writes inside a home: backups, restores, and how large homes are. Loaded only where one of them is on.

`home_content.HomeContent` is all that the rest of the agent uses. This file stays empty: a helper container imports it.
"""
