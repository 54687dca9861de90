"""The dialects that clients speak. All stand on `serving`: same admission, callers, limits, engine and typed errors.

hub: `huggingface_hub.InferenceClient(model=URL)` · tei: Text Embeddings Inference · openai: embeddings and models ·
kserve: Open Inference Protocol v2. A field that we do not honour is refused, never ignored.
"""
