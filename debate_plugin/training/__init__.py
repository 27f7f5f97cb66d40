"""LoRA fine-tuning with TRL and PEFT: rows -> adapter folders that the engine loads by name."""
