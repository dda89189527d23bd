internal import Architectures
internal import Bytes
package import TensorModel

/// What the files of one tokenizer state otherwise than those of another model.
package struct TokenizerComparison {
  /// The parts that differ, in words such as `chat template`.
  package private(set) var differences: [String] = []

  private static let vocabularyFiles = [
    FastTokenizer.file, SentencePieceModel.file, "vocab.json", "vocab.txt", TekkenFile.file,
    TiktokenFile.usualName,
  ]

  /// Compares the files that a tokenizer brings with those of a checkpoint.
  ///
  /// Parts that it does not bring do not differ. Throws `malformed`, and what reading throws.
  package init(
    of tokenizer: CompanionReader, with model: CompanionReader
  ) throws(ModelError) {
    try compareVocabulary(tokenizer, model)
    let templates = try ChatTemplates(tokenizer).templates
    if !templates.isEmpty, try Set(templates) != Set(ChatTemplates(model).templates) {
      differences.append("chat template")
    }
    if try Self.hasOtherEnd(tokenizer, model) { differences.append("end-of-text token") }
    try compareSpecialTokens(tokenizer, model)
  }

  /// Compares the files that a tokenizer brings with the metadata of a llama.cpp model.
  ///
  /// Of the vocabulary, only added tokens are compared. Throws `malformed`, and what reading throws.
  package init(of tokenizer: CompanionReader, with metadata: Metadata) throws(ModelError) {
    let fast = try tokenizer.fastTokenizer()
    let texts = try Self.tokens(in: metadata)
    func isToken(_ id: Int, _ text: String) -> Bool {
      let bytes = Array(text.utf8)
      return texts.indices.contains(id) && [bytes, bytes.withSpaces].contains(texts[id])
    }
    if !(fast?.addedTokens ?? []).allSatisfy({ isToken($0.id, $0.text) }) {
      differences.append("tokenizer")
    } else if let fast, Self.splitsOtherwise(fast, metadata) {
      differences.append("pre-tokenizer")
    }
    let template = try ChatTemplates(tokenizer).usual
    if let template, template != metadata[ChatTemplates.metadataKey]?.text {
      differences.append("chat template")
    }
    func id(of kind: String) -> Int? {
      SpecialTokens.key(of: kind).flatMap { metadata[$0]?.integer }
    }
    let end = id(of: "eos") ?? -1
    let ends = EndToken.ids(in: try tokenizer.object(TokenizerFiles.generationFile))
    let isEnd = try EndToken.text(in: tokenizer).map { isToken(end, $0) }
    if !(isEnd ?? (ends.isEmpty || ends.contains(end))) { differences.append("end-of-text token") }
    try compareAdditions(tokenizer, fast, metadata)
    for kind in SpecialTokens.usualKinds where kind != "eos" {
      guard let text = try SpecialTokens.text(of: kind, in: tokenizer) else { continue }
      if id(of: kind).map({ !isToken($0, text) }) ?? (kind == "pad") {
        differences.append("\(kind) token")
      }
    }
  }

  /// Compares whether texts begin and end with a token, as far as both state it.
  private mutating func compareAdditions(
    _ tokenizer: CompanionReader, _ fast: FastTokenizer?, _ metadata: Metadata
  ) throws(ModelError) {
    var special: SpecialTokens?
    if fast != nil {
      let files = try TokenizerFiles(tokenizer, config: .object([]))
      special = SpecialTokens(files, TextIndex())
    }
    let configuration = try tokenizer.object(TokenizerFiles.configurationFile)
    for kind in ["bos", "eos"] {
      let key = "add_\(kind)_token"
      guard let isAdded = special?.isAdded(kind) ?? configuration[key]?.bool,
        metadata["tokenizer.ggml.\(key)"] == .bool(!isAdded)
      else { continue }
      differences.append(key)
    }
  }

  /// Compares what the files state about other special tokens than the one that ends a text.
  private mutating func compareSpecialTokens(
    _ tokenizer: CompanionReader, _ model: CompanionReader
  ) throws(ModelError) {
    let configuration = try tokenizer.object(TokenizerFiles.configurationFile)
    let others = try model.object(TokenizerFiles.configurationFile)
    // Every tokenizer class adds no end unless the file says so; for the start, classes differ.
    for (key, usual) in [("add_bos_token", nil), ("add_eos_token", false)] {
      guard let isAdded = configuration[key]?.bool, let other = others[key]?.bool ?? usual,
        isAdded != other
      else { continue }
      differences.append(key)
    }
    // A model that states no special token has those of its class; one that states some has no pad.
    let statesSome = try EndToken.text(in: model) != nil
    for kind in SpecialTokens.usualKinds where kind != "eos" {
      guard let text = try SpecialTokens.text(of: kind, in: tokenizer) else { continue }
      let other = try SpecialTokens.text(of: kind, in: model)
      if other.map({ !$0.hasSameBytes(as: text) }) ?? (kind == "pad" && statesSome) {
        differences.append("\(kind) token")
      }
    }
  }

  /// Whether a tokenizer splits texts otherwise than the pre-tokenizer that metadata names.
  private static func splitsOtherwise(_ fast: FastTokenizer, _ metadata: Metadata) -> Bool {
    guard let known = fast.preTokenizer.known(ignoringMerges: fast.ignoresMerges),
      let name = metadata["tokenizer.ggml.pre"]?.text,
      let other = KnownPreTokenizer.all.first(where: { $0.names.contains(name) })
    else { return false }
    return known.definitions != other.definitions
  }

  private static func hasOtherEnd(
    _ tokenizer: CompanionReader, _ model: CompanionReader
  ) throws(ModelError) -> Bool {
    if let text = try EndToken.text(in: tokenizer), try text != EndToken.text(in: model) {
      return true
    }
    let ids = EndToken.ids(in: try tokenizer.object(TokenizerFiles.generationFile))
    guard !ids.isEmpty else { return false }
    let generation = EndToken.ids(in: try model.object(TokenizerFiles.generationFile))
    let config = EndToken.ids(in: TextConfig.merged(try model.object("config.json")))
    return Set(ids) != Set(generation.isEmpty ? config : generation)
  }

  private mutating func compareVocabulary(
    _ tokenizer: CompanionReader, _ model: CompanionReader
  ) throws(ModelError) {
    let brought = Self.vocabularyFiles.filter(tokenizer.names.contains)
    guard !brought.isEmpty else { return }
    // A model may have the same vocabulary in several files. One that both have is compared.
    guard let name = brought.first(where: model.names.contains),
      let own = try tokenizer.bytes(of: name), let other = try model.bytes(of: name)
    else { return differences.append("tokenizer") }
    guard name == FastTokenizer.file else {
      let (added, known) = (try Self.addedTokens(tokenizer), try Self.addedTokens(model))
      if own != other || !known.isEmpty && !added.isSubset(of: known) {
        differences.append("tokenizer")
      }
      return
    }
    guard own != other, let own = try tokenizer.fastTokenizer(),
      let other = try model.fastTokenizer()
    else { return }
    guard own.hasSameTokens(as: other) else { return differences.append("tokenizer") }
    if !own.splitsAlike(other) { differences.append("pre-tokenizer") }
    if own.postProcessing != other.postProcessing { differences.append("post-processor") }
  }

  /// The texts of the tokens of a llama.cpp model, by id.
  private static func tokens(in metadata: Metadata) throws(ModelError) -> [[UInt8]] {
    guard case .array(let array)? = metadata[GGUFTokenizer.tokensKey], array.elementType == .string
    else { return [] }
    var reader = ByteReader(array.bytes, path: GGUFTokenizer.tokensKey)
    var texts: [[UInt8]] = []
    for _ in 0..<array.count {
      let count = try reader.count(of: "a token", elementSize: 1)
      texts.append(try reader.bytes(count, of: "a token"))
    }
    return texts
  }

  /// The tokens that tokenizer_config.json adds to the vocabulary, with their ids.
  private static func addedTokens(
    _ companions: CompanionReader
  ) throws(ModelError) -> Set<JSONValue.Member> {
    let configuration = try companions.object(TokenizerFiles.configurationFile)
    let decoder = configuration["added_tokens_decoder"]?.members ?? []
    return Set(decoder.map { .init($0.key, $0.value["content"] ?? .null) })
  }
}
