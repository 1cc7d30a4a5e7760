"""What a model memorised: probes, exposure, samples."""
