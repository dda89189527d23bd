package import Kernels

/// Sees the inputs of the matrices of a model while it runs.
package protocol LinearObserver: AnyObject {
  /// Receives the inputs of some matrices.
  ///
  /// - Parameters:
  ///   - inputs: One row for each token that reaches the matrices.
  ///   - weights: The names of the matrices in llama.cpp, with `.weight`.
  ///   - matrix: The number of the matrix in the stacks with these names, of an expert or of a head,
  ///     and the number of matrices there; nil for other matrices.
  func observe(
    _ inputs: FloatMatrix, of weights: [String], matrix: (index: Int, count: Int)?)
}
