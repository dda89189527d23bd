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
  /// What llama.cpp computes for the architecture, whatever a file states.
  package var traits = RuntimeTraits()

  private static let head = TensorNames.head + "."
  private static let huggingFaceModel = "model."
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
    guard let parts = NameParts(plainName(name)[...], layers: Self.huggingFaceLayers),
      let pair = names(for: parts).first(where: { $0.huggingFace == parts.stem })
    else { return nil }
    return (parts, pair)
  }

  /// A checkpoint name as it is in a model of text alone, whatever stands before it.
  package func plainName(_ huggingFaceName: String) -> String {
    let rest = TextPrefix.stripped(huggingFaceName).rest
    return rest.hasPrefix(Self.head) ? rest : Self.huggingFaceModel + rest
  }

  /// What stands before the checkpoint name of a tensor in the tables, other than the head.
  ///
  /// Nil for the head and for tensors that are in no table.
  package func prefix(ofHuggingFaceName name: String) -> String? {
    let (prefix, rest) = TextPrefix.stripped(name)
    guard !rest.hasPrefix(Self.head) else { return nil }
    return place(ofHuggingFaceName: name).map { _ in prefix }
  }

  /// The layer of a checkpoint tensor, and its names in the tables.
  ///
  /// The layer is nil outside of layers. The whole is nil for tensors that are in no table. Names of
  /// experts have `*` for the number.
  package func place(ofHuggingFaceName name: String) -> (layer: Int?, names: NamePair)? {
    let found =
      entry(ofHuggingFaceName: name)
      ?? expertEntry(ofHuggingFaceName: name).map { ($0.parts, $0.pair) }
    // The layer of a number that is too large for an `Int` is beyond those of any model.
    return found.map { parts, pair in (parts.layer.map { Int($0) ?? .max }, pair) }
  }

  /// llama.cpp's name for the stack of an expert's tensor, and the number of the expert.
  ///
  /// Nil for tensors of no expert.
  package func expert(ofHuggingFaceName name: String) -> (ggufName: String, index: Int)? {
    guard let (parts, pair, index) = expertEntry(ofHuggingFaceName: name) else { return nil }
    return (parts.name(Self.ggufLayers, pair.gguf), index)
  }

  private func expertEntry(
    ofHuggingFaceName name: String
  ) -> (parts: NameParts, pair: NamePair, index: Int)? {
    guard !expertNames.isEmpty,
      let parts = NameParts(plainName(name)[...], layers: Self.huggingFaceLayers)
    else { return nil }
    for pair in expertNames {
      let ends = pair.huggingFace.split(separator: "*", omittingEmptySubsequences: false)
      guard ends.count == 2, parts.stem.hasPrefix(ends[0]), parts.stem.hasSuffix(ends[1]) else {
        continue
      }
      let number = parts.stem.dropFirst(ends[0].count).dropLast(ends[1].count)
      guard NameParts.isNumber(number), let index = Int(number) else { continue }
      return (parts, pair, index)
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

  /// The tensors that have a bias by the keys of a config, by their names in llama.cpp.
  package func statedBiases(_ config: JSONValue) -> Set<String> {
    let keys = traits.biasKeys.filter { config[$0.key]?.bool == true }
    return keys.reduce(into: Set<String>()) { $0.formUnion($1.tensors) }
  }

  /// The tensors that may have a bias in llama.cpp, by their names there.
  ///
  /// Transformers ignores biases that the config does not state.
  package func possibleBiases(_ config: JSONValue) -> Set<String> {
    let keyed = traits.biasKeys.reduce(into: Set<String>()) { $0.formUnion($1.tensors) }
    return traits.biases.subtracting(keyed).union(traits.biases.intersection(statedBiases(config)))
  }

  /// The checkpoint names of the biases of tensors in all layers.
  package func biasNames(of tensors: Set<String>, layerCount: Int) -> [String] {
    let stems = layerNames.filter { tensors.contains($0.gguf) }.map(\.huggingFace)
    return (0..<layerCount).flatMap { layer in
      stems.map { "\(Self.huggingFaceLayers)\(layer).\($0).bias" }
    }
  }

  private func names(for parts: NameParts) -> [NamePair] {
    parts.layer == nil ? modelNames : layerNames
  }
}
