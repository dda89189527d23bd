internal import Bytes
package import TensorModel

/// What Hugging Face and llama.cpp call the tensors of a kind of model, and how each orders rows.
///
/// The tables have names without the ending `.weight` or `.bias`, which both sides share, and those
/// of a layer without what names the layer, `model.layers.3.` or `blk.3.`.
package struct Architecture: Sendable {
  /// What one tensor is called by either side.
  package typealias NamePair = (huggingFace: String, gguf: String)

  /// `general.architecture` of a GGUF file; mistral and mixtral have the name of llama there.
  package let ggufName: String
  /// `model_type` of a `config.json`; first the one that goes with names without a prefix.
  package let modelTypes: [String]
  /// Whether GGUF holds the rows of queries and keys in the order of `RotaryRowOrder`.
  package let interleavesRotaryRows: Bool
  /// The tensors outside of layers.
  package let modelNames: [NamePair]
  /// The tensors of each layer.
  package let layerNames: [NamePair]
  /// Whether GGUF holds the weights of norms plus one, as it does for gemma.
  package var addsOneToNorms = false
  /// What a checkpoint may put before each name, or after `model.`, where the model is a part of a
  /// larger one.
  package var huggingFacePrefix = ""
  /// The tensors of each expert, with `*` for its number; GGUF has one tensor for those of a layer.
  package var expertNames: [NamePair] = []
  /// Whether llama.cpp has no head for it, since the embeddings are the head.
  package var leavesOutHead = false
  /// What `config.json` may leave out: what the class of transformers has instead, where llama.cpp
  /// would take something else.
  var defaults: JSONValue = [:]
  /// Writes what `config.json` says as metadata.
  let write: @Sendable (inout Hyperparameters) throws(ModelError) -> Void

  private static let huggingFaceLayers = "model.layers."
  private static let ggufLayers = "blk."

  /// What llama.cpp calls a tensor of a checkpoint; nil when the table does not have it.
  package func ggufName(of huggingFaceName: String) -> String? {
    entry(ofHuggingFaceName: huggingFaceName).map { $0.parts.name(Self.ggufLayers, $0.pair.gguf) }
  }

  /// What a checkpoint calls a tensor of GGUF, without a prefix; nil when the table lacks it.
  package func huggingFaceName(of ggufName: String) -> String? {
    guard let parts = NameParts(ggufName[...], layers: Self.ggufLayers) else { return nil }
    let pair = names(for: parts).first { $0.gguf == parts.stem }
    return pair.map { parts.name(Self.huggingFaceLayers, $0.huggingFace) }
  }

  /// How GGUF orders the rows of a tensor of a checkpoint; nil when both have the same order.
  ///
  /// Throws `malformed` when rows have to be moved and the heads are impossible.
  ///
  /// - Parameters:
  ///   - name: The name in the checkpoint.
  ///   - headCount: `num_attention_heads`: the heads of queries.
  ///   - keyValueHeadCount: `num_key_value_heads`: the heads of keys.
  ///   - headSize: `head_dim`: the rows of a head.
  /// - Returns: The order, for weights and biases of queries and keys, or nil.
  /// - Throws: `malformed`.
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

  /// The name with nothing before it: newer checkpoints have `model.` first.
  private func withoutPrefix(_ name: String) -> String {
    guard !huggingFacePrefix.isEmpty else { return name }
    if name.hasPrefix(huggingFacePrefix) { return String(name.dropFirst(huggingFacePrefix.count)) }
    let model = "model."
    guard name.hasPrefix(model + huggingFacePrefix) else { return name }
    return model + name.dropFirst(model.count + huggingFacePrefix.count)
  }

  /// What llama.cpp calls the tensor that an expert's is a part of, and which part; nil for others.
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

  /// The names in a checkpoint of the tensors that a model with so many layers has.
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

  /// A name as the tables have it, without what a checkpoint may put before it.
  package func plainName(_ huggingFaceName: String) -> String { withoutPrefix(huggingFaceName) }

  private func names(for parts: NameParts) -> [NamePair] {
    parts.layer == nil ? modelNames : layerNames
  }
}

/// The name of a tensor, taken apart: `blk.3.attn_q.weight` into `3`, `attn_q` and `weight`.
private struct NameParts {
  /// The number of the layer, in the digits of the name; nil outside of layers.
  let layer: Substring?
  /// What the tables have.
  let stem: Substring
  /// `weight` or `bias`.
  let ending: Substring

  /// The parts of a name whose layers follow a prefix; nil when it cannot be in a table.
  init?(_ name: Substring, layers prefix: String) {
    guard let dot = name.lastIndex(of: ".") else { return nil }
    ending = name[dot...].dropFirst()
    guard ending == "weight" || ending == "bias" else { return nil }
    let whole = name[..<dot]
    guard whole.hasPrefix(prefix) else {
      layer = nil
      stem = whole
      return
    }
    let rest = whole.dropFirst(prefix.count)
    let number = rest.prefix { $0 != "." }
    guard Self.isNumber(number) else { return nil }
    layer = number
    stem = rest[number.endIndex...].dropFirst()
  }

  // A second spelling of a number, as 03, would give two tensors one name.
  static func isNumber(_ text: Substring) -> Bool {
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    guard let first = text.utf8.first, text.utf8.allSatisfy(digits.contains) else { return false }
    return first != digits.lowerBound || text.utf8.count == 1
  }

  /// The name of the same layer and ending with another prefix and stem.
  func name(_ prefix: String, _ stem: String) -> String {
    (layer.map { "\(prefix)\($0)." } ?? "") + "\(stem).\(ending)"
  }
}
