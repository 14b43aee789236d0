"""Adapters in the format of Hugging Face's PEFT: adapter_config.json and adapter_model.safetensors, both ways."""
