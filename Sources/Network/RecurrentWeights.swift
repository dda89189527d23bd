internal import Kernels
internal import TensorModel

/// A convolution of each channel over the last positions.
struct ChannelConvolution: Sendable {
  /// The factors of the channels, for the earliest position first: positions × channels.
  var kernel: FloatMatrix
  /// What is added to each channel; nil for nothing.
  var bias: [Float]?
  var activation: ActivationFunction
}

/// The weights of linear attention by the gated delta rule (arXiv 2412.06464).
struct DeltaNetWeights: Sendable {
  /// Makes queries, keys and values.
  var channels: Linear
  /// Makes what outputs are multiplied by, through the activation.
  var gate: Linear
  /// Makes the steps and the rates of all heads, each by itself; or the rates and then the steps of
  /// the heads of values that share a key.
  var steps: [Linear]
  var convolution: ChannelConvolution
  /// What the logarithm of the decay is for a step of 1.
  var decays: [Float]
  /// What is added to the steps.
  var stepBiases: [Float]
  /// The norm of the outputs of a head.
  var norm: RowNorm
  var output: Linear
}

/// The weights of Mamba 2 (arXiv 2405.21060).
struct StateSpaceWeights: Sendable {
  /// Makes what outputs are multiplied by, through the activation.
  var gate: Linear
  /// Makes values and the matrices B and C.
  var channels: Linear
  /// Makes the time steps of all heads.
  var steps: Linear
  var convolution: ChannelConvolution
  /// What the logarithm of the decay is for a step of 1.
  var decays: [Float]
  /// What is added to the steps.
  var stepBiases: [Float]
  /// What values are multiplied by and added to the outputs: 1 × values of all heads.
  var skips: FloatMatrix
  /// The norm of the outputs of each group of heads; empty without norms.
  var norms: [RowNorm]
  var output: Linear
}

extension LayerFinder {
  /// The weights of Mamba 2.
  ///
  /// Throws `malformed` for one that is missing or has another shape.
  func stateSpace(_ sizes: Recurrence) throws(ModelError) -> StateSpaceWeights {
    let (width, inner, heads) = (shape.width, sizes.valueCount, sizes.headCount)
    let last = inner + sizes.channelCount
    let skips = FloatMatrix(rowCount: 1, columnCount: inner)
    skips.setRow(
      0,
      to: try required("ssm_d", heads).flatMap {
        Array(repeating: $0, count: sizes.head.valueSize)
      }[...])
    let norm = weights.has(name("ssm_norm.weight")) ? try required("ssm_norm.weight", inner) : []
    let size = inner / sizes.keyHeadCount
    return StateSpaceWeights(
      gate: try linear("ssm_in", rows: 0..<inner, width),
      channels: try linear("ssm_in", rows: inner..<last, width),
      steps: try linear("ssm_in", rows: last..<last + heads, width),
      convolution: try convolution("ssm_conv1d", sizes),
      decays: try required("ssm_a", heads), stepBiases: try required("ssm_dt.bias", heads),
      skips: skips,
      norms: stride(from: 0, to: norm.count, by: size).map {
        RowNorm(
          subtractsMean: false, epsilon: shape.normEpsilon, weights: Array(norm[$0..<$0 + size]))
      },
      output: try linear("ssm_out", width, inner))
  }

  /// The weights of linear attention.
  ///
  /// Throws `malformed` for one that is missing or has another shape.
  func deltaNet(_ sizes: Recurrence) throws(ModelError) -> DeltaNetWeights {
    let (width, heads) = (shape.width, sizes.headCount)
    let steps =
      weights.has(name("ssm_ba.weight"))
      ? [try linear("ssm_ba", 2 * heads, width)]
      : [try linear("ssm_alpha", heads, width), try linear("ssm_beta", heads, width)]
    let norm = try required("ssm_norm.weight", sizes.head.valueSize)
    return DeltaNetWeights(
      channels: try linear("attn_qkv", sizes.channelCount, width),
      gate: try linear("attn_gate", sizes.valueCount, width), steps: steps,
      convolution: try convolution("ssm_conv1d", sizes),
      decays: try required("ssm_a", heads), stepBiases: try required("ssm_dt.bias", heads),
      // Nothing is added to these weights, unlike those of the other norms.
      norm: RowNorm(subtractsMean: false, epsilon: shape.normEpsilon, weights: norm),
      output: try linear("ssm_out", width, sizes.valueCount))
  }

  /// The convolution of a layer with states.
  ///
  /// Throws `malformed` if it is missing or has another size.
  private func convolution(
    _ stem: String, _ sizes: Recurrence
  ) throws(ModelError) -> ChannelConvolution {
    let (size, count) = (sizes.kernelSize, sizes.channelCount)
    let factors = try required("\(stem).weight", count * size)
    let kernel = FloatMatrix(rowCount: size, columnCount: count)
    for tap in 0..<size {
      kernel.setRow(tap, to: (0..<count).map { factors[$0 * size + tap] }[...])
    }
    let bias = weights.has(name("\(stem).bias")) ? try required("\(stem).bias", count) : nil
    return ChannelConvolution(
      kernel: kernel, bias: bias, activation: shape.convolutionActivation)
  }
}
