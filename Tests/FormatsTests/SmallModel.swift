import Bytes
import Formats
import TensorModel
import TestSupport

/// A model of a few hundred bytes with several kinds of tensors, metadata and a config.
enum SmallModel {
  /// Two linear weights, a norm and an empty tensor.
  static let tensors = [
    Toy("layers.0.q_proj.weight", .f16, [2, 64], seed: 1),
    Toy("layers.0.k_proj.weight", .bf16, [3, 32], seed: 2),
    Toy("norm.weight", .f32, [5], seed: 3),
    Toy("empty", .f16, [0, 4], seed: 4),
  ]

  /// Writes the model as a checkpoint with a companion, and returns the path of the folder.
  static func safetensors(in scratch: Scratch) throws -> String {
    try scratch.write("{\"model_type\":\"llama\"}", as: "small/config.json")
    try scratch.write(
      ToyFiles.safetensors(tensors, metadata: [("format", "pt"), ("note", "ü")]),
      as: "small/model.safetensors")
    return scratch.path("small")
  }
}
