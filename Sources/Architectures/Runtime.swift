/// A program that runs models, and has its own names and forms for their tensors.
package enum Runtime: String, Sendable, Hashable {
  case llamaCpp = "llama.cpp"
  case mlxLM = "mlx-lm"
  case transformers
}
