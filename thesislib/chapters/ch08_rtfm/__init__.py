"""Chapter 8: RTFM, weakly supervised video anomaly detection."""
