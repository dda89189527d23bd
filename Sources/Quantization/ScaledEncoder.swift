package import Kernels
package import TensorModel

/// Writes rows of floats as the codes and scales of a mode of MLX.
///
/// They are those of `mx.quantize`, which neither searches nor uses importance.
package struct ScaledEncoder: Sendable, Hashable {
  /// The codes and scales.
  package let encoding: ScaledCodes
  /// The type of the weights, in which MLX computes scales.
  package let arithmetic: ScalarType
  private let kernel: ScaledKernel

  /// Creates an encoder.
  ///
  /// - Parameters:
  ///   - mode: The mode.
  ///   - type: The type of the weights: F16, BF16 or F32. MLX computes scales in it.
  ///   - decoded: The type that the codes are decoded to later; nil for that of the weights.
  package init(_ mode: ScaledMode, ofWeightsIn type: ScalarType, decoded: ScalarType? = nil) {
    var encoding = mode.codes
    encoding.decoded = decoded ?? type
    self.encoding = encoding
    arithmetic = type
    kernel = ScaledKernel(mode, arithmetic: FloatFormat(type))
  }

  /// The mode.
  package var mode: ScaledMode { kernel.mode }

  /// The same for sums of weights and adapters, which are rounded only once: in F32.
  package var forSums: ScaledEncoder {
    ScaledEncoder(mode, ofWeightsIn: .f32, decoded: encoding.decoded)
  }

  /// Encodes whole rows into just as many bytes as they take.
  ///
  /// Throws the fault of the first group with a value that is not finite, or with numbers that are
  /// too large for the mode.
  package func encode(
    _ values: [Float], codes: inout MutableRawSpan, scales: inout MutableRawSpan
  ) throws(GroupFault) {
    try kernel.encode(values.span, codes: &codes, scales: &scales)
  }
}
