"""What the device finds out about itself, in layers: sources (impure), parsers (pure), sections.

parsers.py reads texts and knows no files; each `*_section.py` asks its sources; collect.py runs them aside, each with
a deadline, so that one hung disk does not delay the rest.
"""
