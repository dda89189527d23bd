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
  package internal(set) var ggufName: String
  /// The values of `model_type` in `config.json`; the first one goes with names without a prefix.
  package let modelTypes: [String]
  /// The class of transformers for the first model type; nil if it has none for text alone.
  package var className: String?
  /// Whether it is the text model of one that sees pictures, as a checkpoint of its own.
  package internal(set) var isTextAlone = false
  /// Whether that class is code beside the weights, because transformers itself has none.
  package var needsRemoteCode = false
  /// Whether GGUF stores the rows of queries and keys in the interleaved order of `RotaryRowOrder`.
  package let interleavesRotaryRows: Bool
  /// The tensors outside of layers.
  package let modelNames: [NamePair]
  /// The tensors of each layer.
  package var layerNames: [NamePair]
  /// Whether GGUF stores the weights of norms plus one, as it does for gemma.
  package var addsOneToNorms = false
  /// The norms that it does not store so, by their names in llama.cpp.
  package var normsWithoutOne: Set<String> = []
  /// The key of a config for the inner width of a feed-forward network without experts.
  package var innerWidthKey = "intermediate_size"
  /// The keys of a config for experts; nil without experts.
  package var experts: ExpertKeys?
  /// The tensors of each expert, with `*` for its number.
  ///
  /// GGUF has one tensor for all experts of a layer.
  package var expertNames: [NamePair] = []
  /// The tensors of the first layers alone, which have a feed-forward network without experts.
  package var leadingNames: [NamePair] = []
  /// The tensors of the other layers alone, besides experts.
  package var laterNames: [NamePair] = []
  /// The tensors of the layers of each kind alone, besides those of all layers.
  package var kindNames: [LayerKind: LayerNames] = [:]
  /// The words for kinds of layers in the list `layer_types` of a config; empty if all are alike.
  package var layerKinds: [(word: String, kind: LayerKind)] = []
  /// A config with values that transformers derives from others of its keys.
  package var derivedValues: @Sendable (JSONValue) -> JSONValue = { $0 }
  /// The keys of a config for layers with states; nil without them.
  package var stateSpace: StateSpaceKeys?
  /// Whether no layer has attention.
  package var hasNoAttention = false
  /// Whether llama.cpp's converter states a context that no text fills, since no position is encoded.
  package var hasUnlimitedContext = false
  /// Words that checkpoints may put before all names, besides those of larger models.
  package var outerWords: Set<Substring> = []
  /// The word of these in place of `model` in what transformers reads; nil for `model` itself.
  package var publishedWord: String?
  /// Whether GGUF has a list with the number of heads of keys and values in each layer.
  package var listsKeyValueHeads = false
  /// What names of layers that predict several tokens begin with, if not numbered on from others.
  package var predictionPrefix: String?
  /// Whether the projection to queries also makes a gate for each row.
  package var gatesQueries = false
  /// The tensors of the layers after the last one, which predict several tokens at once.
  ///
  /// They have those of other layers too. The first three are required. Empty without such layers.
  package var predictionNames: [NamePair] = []
  /// Tensors of each layer that a model has by its config.
  package var optionalNames: [OptionalNames] = []
  /// Tensors of each layer under complete names: divided by GGUF, or not in `.weight` or `.bias`.
  package var completeNames: [(huggingFace: String, gguf: [String])] = []
  /// Numbers of each layer: tensors of so many dimensions in a checkpoint, lists in llama.cpp.
  package var layerNumbers: [(huggingFace: String, ggufKey: String, rank: Int)] = []
  /// Tensors outside of layers that GGUF stores as one, with `*` for their numbers from 0 on.
  package var numberedNames: [NamePair] = []
  /// How newer versions of transformers store experts: stacks, instead of `expertNames`.
  package var stackNames: [(huggingFace: String, gguf: [String])] = []
  /// Other ends of names of tensors in layers, which some programs write, and those in the tables.
  package var otherNames: [(other: String, own: String)] = []
  /// The tensors of each layer that GGUF arranges in another way; other tables name the results.
  package var arrangements: [TensorArrangement] = []
  /// How the tensors that GGUF arranges or divides become those of a checkpoint again.
  package var returns: [TensorReturn] = []
  /// What distinguishes layers with sizes by their kind of attention; nil if all have the same.
  package var variedLayers: VariedLayers?
  /// Whether a config states rotary embeddings for each kind of layer, and in no other form.
  package var statesRopeByKind = false
  /// The beginnings of names of tensors that neither llama.cpp nor transformers uses, without the
  /// words of larger models.
  package var leftOut: [String] = []
  /// The texts of tokens with a purpose that llama.cpp does not know by their texts, such as `eot`
  /// for the end of a turn, if no file states them.
  package var specialTokens: [(kind: String, text: String)] = []
  /// Whether llama.cpp has no head for it, because the embeddings are the head.
  package var leavesOutHead = false
  /// Whether llama.cpp needs a head, even if it equals the embeddings.
  package var needsHead = false
  /// The defaults of transformers for values that `config.json` leaves out, if llama.cpp's differ.
  package var defaults: JSONValue = [:]
  /// What llama.cpp computes though no key states it, and transformers only if `config.json` does.
  package var runtimeValues: @Sendable (Hyperparameters) -> JSONValue = { _ in [:] }
  /// The factors of a config that weights of llama.cpp have already, with values that change nothing.
  package var unitFactors: JSONValue = [:]
  /// Whether attention compresses queries, keys and values.
  package var hasLatentAttention = false
  /// Whether llama.cpp has no place for layers that predict several tokens at once.
  package var leavesOutPredictionLayers = false
  /// Whether the norms of queries and keys have a weight for each row of all heads, not of one.
  package var normsAllHeads = false
  /// The number that norms add to the mean square, or to the variance, and its key in GGUF.
  package var normEpsilon = (key: "rms_norm_eps", ggufKey: "attention.layer_norm_rms_epsilon")
  /// Numbers of `config.json` that llama.cpp multiplies or divides by, and their keys in GGUF.
  package var multipliers: [(key: String, ggufKey: String)] = []
  /// Flags of `config.json` that llama.cpp reads, and their keys in GGUF.
  package var flags: [(key: String, ggufKey: String)] = []
  /// Whether GGUF states flags that are false.
  package var statesFalseFlags = true
  /// The hyperparameters that not all architectures have, in the order of GGUF metadata.
  package let hyperparameters: [Hyperparameters.Key]
  /// Whether llama.cpp never adds a space before a text, regardless of the tokenizer.
  package var neverAddsSpacePrefix = false
  /// Whether llama.cpp applies the merges of a tokenizer with SentencePiece's marks for spaces.
  package var hasMergesOfPieces = false
  /// Whether llama.cpp gets the tokens that `generation_config.json` says are never chosen.
  package var suppressesTokens = false
  /// What llama.cpp computes for the architecture, whatever a file states.
  package var traits = RuntimeTraits()
  /// Whether a config means this architecture, of those with the same `model_type`; nil for the
  /// usual one.
  var isMeant: (@Sendable (_ config: JSONValue) -> Bool)?
  /// What distinguishes an encoder, which embeds texts; nil if models predict tokens.
  package var encoder: EncoderTraits?

  /// The architecture for the text model of one that sees pictures, whose files in GGUF have a name
  /// of their own.
  ///
  /// Only the positions of pictures differ: those of a text are the same in every section. `values` are
  /// what the larger model computes though its config does not state it.
  func textAlone(of larger: Architecture, stating values: JSONValue = [:]) -> Architecture {
    var text = self
    (text.ggufName, text.isTextAlone) = (larger.ggufName, true)
    text.defaults = larger.defaults.overridden(by: values)
    return text
  }

  private static let head = TensorNames.head + "."
  private static let ggufLayers = "blk."

  /// llama.cpp's name for a tensor of a checkpoint; nil if it is not in the tables.
  package func ggufName(of huggingFaceName: String) -> String? {
    if let found = entry(ofHuggingFaceName: huggingFaceName) {
      return found.parts.name(Self.ggufLayers, found.pair.gguf)
    }
    let names = ggufNames(ofCompleteName: huggingFaceName)
    return names.count == 1 ? names[0] : nil
  }

  /// llama.cpp's names for the parts of a tensor in `completeNames`, in order; empty for others.
  package func ggufNames(ofCompleteName name: String) -> [String] {
    guard let (layer, pair) = completeEntry(ofHuggingFaceName: name) else { return [] }
    return pair.gguf.map { "\(Self.ggufLayers)\(layer).\($0)" }
  }

  /// Whether a tensor of a checkpoint is a stack of experts, by `stackNames`.
  package func isStack(_ name: String) -> Bool {
    guard let pair = completeEntry(ofHuggingFaceName: name)?.pair else { return false }
    return stackNames.contains { $0.huggingFace == pair.huggingFace }
  }

  private func completeEntry(
    ofHuggingFaceName name: String
  ) -> (layer: Substring, pair: (huggingFace: String, gguf: [String]))? {
    let known =
      completeNames + stackNames + kindNames.values.flatMap(\.completeNames)
      + optionalCompleteNames
    guard !known.isEmpty, let (layer, rest) = place(inLayers: name),
      let pair = known.first(where: { $0.huggingFace == rest })
    else { return nil }
    return (layer, pair)
  }

  /// The number of the layer of a checkpoint tensor, and the rest of its name; nil outside of layers.
  func place(inLayers name: String) -> (layer: Substring, rest: Substring)? {
    let plain = plainName(name)
    guard plain.hasPrefix(layerPath) else { return nil }
    let rest = plain.dropFirst(layerPath.count)
    let layer = rest.prefix { $0 != "." }
    guard NameParts.isNumber(layer) else { return nil }
    return (layer, rest[layer.endIndex...].dropFirst())
  }

  /// The layer of a tensor in `layerNumbers`, and the key of its list; nil for other tensors.
  package func layerNumber(ofHuggingFaceName name: String) -> (layer: Int, ggufKey: String)? {
    guard !layerNumbers.isEmpty, let (layer, stem) = place(inLayers: name),
      let found = layerNumbers.first(where: { $0.huggingFace == stem })
    else { return nil }
    return (Int(layer) ?? .max, found.ggufKey)
  }

  /// The name of a tensor of a layer in a checkpoint, from its name in the layer.
  package func layerName(_ layer: Int, _ stem: String) -> String {
    "\(layerPath)\(layer).\(stem)"
  }

  /// The name of a GGUF tensor in a checkpoint, without a prefix; nil if it is not in the tables.
  package func huggingFaceName(of ggufName: String) -> String? {
    if let parts = NameParts(ggufName[...], layers: Self.ggufLayers),
      let pair = pair(for: parts, where: { $0.gguf == parts.stem })
    {
      return parts.name(layerPath, pair.huggingFace)
    }
    // These have other endings, or none.
    guard ggufName.hasPrefix(Self.ggufLayers) else { return nil }
    let rest = ggufName.dropFirst(Self.ggufLayers.count)
    let layer = rest.prefix { $0 != "." }
    let stem = String(rest[layer.endIndex...].dropFirst())
    guard NameParts.isNumber(layer),
      let pair = (completeNames + optionalCompleteNames + kindNames.values.flatMap(\.completeNames))
        .first(where: { $0.gguf == [stem] })
    else { return nil }
    return "\(layerPath)\(layer).\(pair.huggingFace)"
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
    guard let parts = NameParts(plainName(name)[...], layers: layerPath),
      let pair = pair(for: parts, where: { $0.huggingFace == parts.stem })
    else { return nil }
    return (parts, pair)
  }

  /// A checkpoint name as it is in the tables of a model of text alone, whatever stands before it.
  package func plainName(_ huggingFaceName: String) -> String {
    guard let encoder else {
      let rest = TextPrefix.stripped(huggingFaceName, also: outerWords).rest
      guard !rest.hasPrefix(Self.head) else { return rest }
      let name = modelPath + rest
      let found = otherNames.first { name.hasSuffix("." + $0.other) }
      return found.map { name.dropLast($0.other.utf8.count) + $0.own } ?? name
    }
    let rest = TextPrefix.stripped(huggingFaceName, also: encoder.outerWords).rest
    // Old checkpoints have other words for the weight and the bias of a norm.
    for (old, new) in [(".gamma", ".weight"), (".beta", ".bias")] where rest.hasSuffix(old) {
      return modelPath + rest.dropLast(old.count) + new
    }
    return modelPath + rest
  }

  /// What stands before the checkpoint name of a tensor in the tables, other than the head.
  ///
  /// Nil for the head and for tensors that are in no table. May also be nil if it is `known`.
  package func prefix(ofHuggingFaceName name: String, besides known: String? = nil) -> String? {
    let (prefix, rest) = TextPrefix.stripped(name, also: encoder?.outerWords ?? outerWords)
    guard prefix != known, !rest.hasPrefix(Self.head) else { return nil }
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
      ?? numberedEntry(ofHuggingFaceName: name).map { ($0.parts, $0.pair) }
    // The layer of a number that is too large for an `Int` is beyond those of any model.
    if let (parts, pair) = found { return (parts.layer.map { Int($0) ?? .max }, pair) }
    return completeEntry(ofHuggingFaceName: name).map { layer, pair in
      (Int(layer) ?? .max, (pair.huggingFace, pair.gguf[0]))
    }
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
    entry(ofHuggingFaceName: name, among: expertNames)
  }

  /// llama.cpp's name for the stack of a tensor in `numberedNames`, and the number of the tensor.
  package func numbered(ofHuggingFaceName name: String) -> (ggufName: String, index: Int)? {
    guard let (parts, pair, index) = numberedEntry(ofHuggingFaceName: name) else { return nil }
    return (parts.name(Self.ggufLayers, pair.gguf), index)
  }

  private func numberedEntry(
    ofHuggingFaceName name: String
  ) -> (parts: NameParts, pair: NamePair, index: Int)? {
    let found = entry(ofHuggingFaceName: name, among: numberedNames)
    return found?.parts.layer == nil ? found : nil
  }

  private func entry(
    ofHuggingFaceName name: String, among pairs: [NamePair]
  ) -> (parts: NameParts, pair: NamePair, index: Int)? {
    guard !pairs.isEmpty,
      let parts = NameParts(plainName(name)[...], layers: layerPath)
    else { return nil }
    let stem = parts.stem.utf8
    for pair in pairs {
      let pattern = pair.huggingFace.utf8
      guard let star = pattern.firstIndex(of: UInt8(ascii: "*")),
        case (let start, let end) = (pattern[..<star], pattern[star...].dropFirst()),
        stem.count > start.count + end.count, stem.starts(with: start),
        case let rest = stem.dropFirst(start.count),
        rest.suffix(end.count).elementsEqual(end),
        case let number = Substring(rest.dropLast(end.count)),
        NameParts.isNumber(number), let index = Int(number)
      else { continue }
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
      "\(layerPath)\(layer).\($0.huggingFace)"
    }
  }

  private var optionalCompleteNames: [(huggingFace: String, gguf: [String])] {
    optionalNames.flatMap(\.completeNames)
  }

  private func pair(for parts: NameParts, where matches: (NamePair) -> Bool) -> NamePair? {
    guard parts.layer != nil else {
      return modelNames.first(where: matches)
        ?? optionalNames.lazy.flatMap(\.modelNames).first(where: matches)
    }
    if let found = layerNames.first(where: matches) ?? leadingNames.first(where: matches) {
      return found
    }
    if let found = laterNames.first(where: matches) ?? predictionNames.first(where: matches) {
      return found
    }
    for kind in LayerKind.allCases {
      if let found = kindNames[kind]?.names.first(where: matches) { return found }
    }
    for optional in optionalNames {
      if let found = optional.names.first(where: matches) { return found }
    }
    return nil
  }
}
