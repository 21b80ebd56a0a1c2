"""Soft prompts: vectors in front of a text, tuned by gradients or by losses alone, distilled into a library."""
