"""Reproducible companion to Yu Tian's thesis on anomaly detection (2022).

Research software, not for diagnosis.
"""

__version__ = "0.1.0"
