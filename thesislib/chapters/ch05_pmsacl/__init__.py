"""Chapter 5: PMSACL pre-training with MedMix; PaDiM and IGD detect."""
