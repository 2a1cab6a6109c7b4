"""Chapter 9: CTMIL, weakly supervised polyp detection in colonoscopy videos."""
