package import Bytes
package import TensorModel

/// The tensor names of an architecture in Hugging Face and in llama.cpp, and their row orders.
///
/// Names in the tables lack the ending `.weight` or `.bias`, which both sides share. Names of tensors
/// in a layer also lack the prefix of the layer, such as `model.layers.3.` or `blk.3.`.
package struct Architecture: Sendable {
  /// The names of one tensor on both sides.
  package typealias NamePair = (huggingFace: String, gguf: String)

  /// `general.architecture` of a GGUF file; mistral and mixtral use the name of llama there.
  package let ggufName: String
  /// The values of `model_type` in `config.json`; the first one goes with names without a prefix.
  package let modelTypes: [String]
  /// Whether GGUF stores the rows of queries and keys in the interleaved order of `RotaryRowOrder`.
  package let interleavesRotaryRows: Bool
  /// The tensors outside of layers.
  package let modelNames: [NamePair]
  /// The tensors of each layer.
  package let layerNames: [NamePair]
  /// Whether GGUF stores the weights of norms plus one, as it does for gemma.
  package var addsOneToNorms = false
  /// A prefix that checkpoints of a larger model put before each name, or after `model.`.
  package var huggingFacePrefix = ""
  /// The tensors of each expert, with `*` for its number.
  ///
  /// GGUF has one tensor for all experts of a layer.
  package var expertNames: [NamePair] = []
  /// Whether llama.cpp has no head for it, because the embeddings are the head.
  package var leavesOutHead = false
  /// The defaults of transformers for values that `config.json` leaves out, if those of llama.cpp
  /// are different.
  package var defaults: JSONValue = [:]
  /// The hyperparameters that not all architectures have, in the order of GGUF metadata.
  package let hyperparameters: [Hyperparameters.Key]
  /// Whether llama.cpp never adds a space before a text, regardless of the tokenizer.
  package var neverAddsSpacePrefix = false

  private static let huggingFaceLayers = "model.layers."
  private static let ggufLayers = "blk."

  /// llama.cpp's name for a tensor of a checkpoint; nil if it is not in the tables.
  package func ggufName(of huggingFaceName: String) -> String? {
    entry(ofHuggingFaceName: huggingFaceName).map { $0.parts.name(Self.ggufLayers, $0.pair.gguf) }
  }

  /// The name of a GGUF tensor in a checkpoint, without a prefix; nil if it is not in the tables.
  package func huggingFaceName(of ggufName: String) -> String? {
    guard let parts = NameParts(ggufName[...], layers: Self.ggufLayers) else { return nil }
    let pair = names(for: parts).first { $0.gguf == parts.stem }
    return pair.map { parts.name(Self.huggingFaceLayers, $0.huggingFace) }
  }

  /// How GGUF orders the rows of a tensor of a checkpoint; nil if both have the same order.
  ///
  /// - Parameters:
  ///   - name: The name in the checkpoint.
  ///   - headCount: The number of heads of queries, `num_attention_heads`.
  ///   - keyValueHeadCount: The number of heads of keys, `num_key_value_heads`.
  ///   - headSize: The number of rows of a head, `head_dim`.
  /// - Returns: The order for weights and biases of queries and keys, or nil.
  /// - Throws: `malformed` if rows must be reordered and the heads do not allow it.
  package func rowOrder(
    ofHuggingFaceName name: String, headCount: Int, keyValueHeadCount: Int, headSize: Int
  ) throws(ModelError) -> RotaryRowOrder? {
    guard interleavesRotaryRows, let pair = entry(ofHuggingFaceName: name)?.pair else { return nil }
    let heads: Int
    switch pair.gguf {
    case "attn_q": heads = headCount
    case "attn_k": heads = keyValueHeadCount
    default: return nil
    }
    if let order = RotaryRowOrder(headCount: heads, headSize: headSize) { return order }
    throw ModelError(
      .malformed, "attention heads cannot be rotated", tensor: name,
      expected: "heads with an even number of rows", found: "\(heads) heads of \(headSize) rows")
  }

  private func entry(ofHuggingFaceName name: String) -> (parts: NameParts, pair: NamePair)? {
    guard let parts = NameParts(withoutPrefix(name)[...], layers: Self.huggingFaceLayers),
      let pair = names(for: parts).first(where: { $0.huggingFace == parts.stem })
    else { return nil }
    return (parts, pair)
  }

  /// The name without the prefix; in newer checkpoints, `model.` comes first and is kept.
  private func withoutPrefix(_ name: String) -> String {
    guard !huggingFacePrefix.isEmpty else { return name }
    if name.hasPrefix(huggingFacePrefix) { return String(name.dropFirst(huggingFacePrefix.count)) }
    let model = "model."
    guard name.hasPrefix(model + huggingFacePrefix) else { return name }
    return model + name.dropFirst(model.count + huggingFacePrefix.count)
  }

  /// llama.cpp's name for the stack of an expert's tensor, and the number of the expert.
  ///
  /// Nil for tensors of no expert.
  package func expert(ofHuggingFaceName name: String) -> (ggufName: String, index: Int)? {
    guard !expertNames.isEmpty,
      let parts = NameParts(withoutPrefix(name)[...], layers: Self.huggingFaceLayers)
    else { return nil }
    for pair in expertNames {
      let ends = pair.huggingFace.split(separator: "*", omittingEmptySubsequences: false)
      guard ends.count == 2, parts.stem.hasPrefix(ends[0]), parts.stem.hasSuffix(ends[1]) else {
        continue
      }
      let number = parts.stem.dropFirst(ends[0].count).dropLast(ends[1].count)
      guard NameParts.isNumber(number), let index = Int(number) else { continue }
      return (parts.name(Self.ggufLayers, pair.gguf), index)
    }
    return nil
  }

  /// The Hugging Face names of the experts in a stack of a GGUF file, with `*` for their number.
  ///
  /// Empty for other tensors. Names lack the ending `.weight`.
  package func expertPatterns(ofGGUFName name: String) -> [String] {
    guard let parts = NameParts(name[...], layers: Self.ggufLayers), let layer = parts.layer else {
      return []
    }
    return expertNames.filter { $0.gguf == parts.stem }.map {
      "\(Self.huggingFaceLayers)\(layer).\($0.huggingFace)"
    }
  }

  /// The checkpoint names of the weights that a model with so many layers and experts must have.
  ///
  /// The head is not one of them, because the embeddings may serve as the head.
  package func requiredNames(layerCount: Int, expertCount: Int) -> [String] {
    let head = CommonNames.head[0].huggingFace
    var names = modelNames.map(\.huggingFace).filter { $0 != head }
    for layer in 0..<layerCount {
      let experts = expertNames.flatMap { pair in
        (0..<expertCount).map { index in
          pair.huggingFace.split(separator: "*").joined(separator: "\(index)")
        }
      }
      names += (layerNames.map(\.huggingFace) + experts).map {
        "\(Self.huggingFaceLayers)\(layer).\($0)"
      }
    }
    return names.map { $0 + ".weight" }
  }

  /// A checkpoint name without the prefix that a larger model puts before it.
  package func plainName(_ huggingFaceName: String) -> String { withoutPrefix(huggingFaceName) }

  private func names(for parts: NameParts) -> [NamePair] {
    parts.layer == nil ? modelNames : layerNames
  }
}
