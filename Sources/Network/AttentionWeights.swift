internal import Architectures
internal import Kernels
internal import TensorModel

/// The weights of attention.
struct AttentionWeights: Sendable {
  /// Makes the queries; of each head a gate for each number, too, if `shape.gatesQueries`.
  var queries: Linear
  /// Nil in a layer that uses the keys and values of another one.
  var keys: Linear?
  /// Nil, too, if keys are also the values.
  var values: Linear?
  var queryNorm: RowNorm?
  var keyNorm: RowNorm?
  /// A score of each head that takes a part of the softmax, but has no value; nil without them.
  var sinks: [Float]?
  /// Makes a gate for each head, or for each number of the heads; nil without gates.
  var gate: Linear?
  var output: Linear
}

/// The weights of a short convolution: output(c · Σ kernel[k] · (b · x)), where input makes b, c, x.
struct ConvolutionWeights: Sendable {
  var input: Linear
  /// The factors of the channels, for the earliest position first.
  var kernel: [[Float]]
  /// What is added to each channel; nil for nothing.
  var bias: [Float]?
  var output: Linear
}

/// The weights of latent attention (MLA, arXiv 2405.04434), as llama.cpp arranges them.
///
/// Keys and values of all heads are made from one vector of a token, the compressed one. Instead of
/// making the keys, queries are multiplied by the matrix that would make them.
struct LatentWeights: Sendable {
  /// Compresses queries; nil if they are not compressed.
  var queryInput: Linear?
  var queryNorm: RowNorm?
  /// Makes the queries of all heads: those that are not rotated, then those that are.
  var queries: Linear
  /// Makes the compressed vector, and the part of keys that is rotated.
  var compressed: Linear
  var compressedNorm: RowNorm?
  /// The matrix of each head for keys: rank × numbers that are not rotated.
  var keys: [Linear]
  /// The matrix of each head for values: numbers of a value × rank.
  var values: [Linear]
  var output: Linear
}

extension LayerFinder {
  /// The weights of attention.
  ///
  /// Throws `malformed` for one that is missing or has another shape.
  func attention(_ place: DecoderShape.Layer) throws(ModelError) -> AttentionWeights {
    let (width, head, heads) = (shape.width, place.heads.keySize, place.heads)
    let (rows, others) = (heads.count * head, heads.keyValueCount * head)
    let parts: [Linear]
    if place.source != nil {
      parts = [try linear("attn_q", rows, width)]
    } else if place.usesKeysAsValues {
      parts = [try linear("attn_q", rows, width), try linear("attn_k", others, width)]
    } else if weights.has(name("attn_qkv.weight")) {
      parts = [
        try linear("attn_qkv", rows: 0..<rows, width),
        try linear("attn_qkv", rows: rows..<rows + others, width),
        try linear("attn_qkv", rows: rows + others..<rows + 2 * others, width),
      ]
    } else {
      parts = [
        try linear("attn_q", shape.gatesQueries ? 2 * rows : rows, width),
        try linear("attn_k", others, width),
        try linear("attn_v", others, width),
      ]
    }
    let sinks = try weights.vector(name("attn_sinks.weight"))
    guard sinks.map({ $0.count == heads.count }) ?? true else {
      throw ModelError(
        .malformed, "there is not one sink for each head", tensor: name("attn_sinks.weight"),
        expected: "\(heads.count)", found: "\(sinks?.count ?? 0)")
    }
    return AttentionWeights(
      queries: parts[0], keys: parts.dropFirst().first, values: parts.dropFirst(2).first,
      queryNorm: try norm("attn_q_norm", shape.normsAllHeads ? rows : head),
      keyNorm: try norm("attn_k_norm", shape.normsAllHeads ? others : head), sinks: sinks,
      gate: weights.has(name("attn_gate.weight"))
        ? try linear("attn_gate", shape.gateCount ?? rows, width) : nil,
      output: try linear("attn_output", width, rows))
  }

  /// The weights of a short convolution of so many positions.
  ///
  /// Throws `malformed` for one that is missing or has another shape.
  func convolution(_ size: Int) throws(ModelError) -> ConvolutionWeights {
    let width = shape.width
    let stem = "shortconv.conv"
    let factors = try weights.vector(name("\(stem).weight"))
    let bias = try weights.vector(name("\(stem).bias"))
    guard let factors, factors.count == width * size, bias.map({ $0.count == width }) ?? true else {
      throw ModelError(
        .malformed, "the convolution has another size than the config states",
        tensor: name("\(stem).weight"), expected: "\(width)×\(size)",
        found: "\(factors?.count ?? 0) numbers")
    }
    return ConvolutionWeights(
      input: try linear("shortconv.in_proj", 3 * width, width),
      kernel: (0..<size).map { tap in (0..<width).map { factors[$0 * size + tap] } }, bias: bias,
      output: try linear("shortconv.out_proj", width, width))
  }

  /// The weights of latent attention.
  ///
  /// Throws `malformed` for one that is missing or has another shape.
  func latent(
    _ sizes: LatentAttentionSizes, headCount heads: Int
  ) throws(ModelError) -> LatentWeights {
    let (width, rank) = (shape.width, sizes.keyValueRank)
    let isCompressed = sizes.queryRank != nil
    let inputCount = sizes.queryRank ?? width
    return LatentWeights(
      queryInput: isCompressed ? try linear("attn_q_a", inputCount, width) : nil,
      queryNorm: isCompressed ? try norm("attn_q_a_norm", inputCount) : nil,
      queries: try linear(
        isCompressed ? "attn_q_b" : "attn_q", heads * sizes.headSize, inputCount),
      compressed: try linear("attn_kv_a_mqa", rank + sizes.rotatedSize, width),
      compressedNorm: try norm("attn_kv_a_norm", rank),
      keys: try stack("attn_k_b", heads, rows: rank, columns: sizes.plainSize),
      values: try stack("attn_v_b", heads, rows: sizes.valueSize, columns: rank),
      output: try linear("attn_output", width, heads * sizes.valueSize))
  }
}
