"""Chapter 4: CCD pre-training; IGD, f-AnoGAN and an MS-SSIM auto-encoder detect."""
