internal import Architectures
internal import Bytes
internal import Formats
internal import TensorModel
internal import Weights

/// The tokenizer of an output, and the companion files before the format changes them.
struct OutputTokenizer {
  /// The companion files of the output.
  private(set) var companions: [CompanionPlan]
  /// The metadata of the model, with the tokenizer of the donor if it is that of llama.cpp.
  private(set) var metadata: Metadata
  /// Notes for the user.
  private(set) var notes: [String] = []
  /// Whether the output stores a tokenizer.
  let isStored: Bool

  private let model: Model
  private let donor: TokenizerDonor?
  private let preTokenizer: String?
  private let holdsCompanions: Bool
  private static let prefix = "tokenizer."
  private static let configFile = "config.json"
  private static let generationFile = "generation_config.json"

  /// The tokenizer of a model itself.
  init(of model: Model) {
    self.model = model
    (donor, preTokenizer) = (nil, nil)
    (isStored, holdsCompanions) = (true, true)
    metadata = model.catalog.metadata
    companions = model.companionCopies
  }

  /// The tokenizer that a destination asks for, or else that of an adapter that adds tokens.
  ///
  /// Throws `usage` for options that do not apply, and what reading the files throws.
  init(
    of model: Model, for destination: Destination, growing growth: VocabularyGrowth? = nil,
    by adapters: [AppliedAdapter] = []
  ) throws(ModelError) {
    self.model = model
    preTokenizer = destination.preTokenizer
    metadata = model.catalog.metadata
    companions = model.companionCopies
    let becomesCheckpoint = model.becomesCheckpoint(in: destination)
    if becomesCheckpoint {
      companions = try model.checkpointFiles(
        config: destination.configDonor, tokenizer: destination.tokenizerDonor == nil, &notes)
    } else if destination.configDonor != nil {
      throw ModelError(
        .usage, "--config-from is only for a gguf model that becomes a folder",
        found: "\(model.format.name) to \(destination.format.name)",
        hint: "leave --config-from out")
    }
    holdsCompanions = (!model.isGGUF || becomesCheckpoint) && destination.holdsCompanions
    isStored = holdsCompanions || model.storesTokenizerAsMetadata(in: destination.format)
    var donor = destination.tokenizerDonor
    if donor == nil, isStored, let growth {
      let adapter = adapters[growth.adapter].file
      let count = "\(growth.tokenCount) token\(growth.tokenCount == 1 ? "" : "s")"
      donor = try adapter.folder.flatMap { (path) throws(ModelError) in
        try TokenizerDonor(folder: path)
      }
      notes.append(
        donor == nil
          ? "\(adapter.name) adds \(count) and brings no tokenizer: --tokenizer-from names one"
          : "the tokenizer is that of \(adapter.name), which adds \(count)")
    }
    self.donor = donor
    try checkOptions(destination)
    if let growth, let config = try document(Self.configFile) {
      replace(Self.configFile, by: growth.applied(to: config))
    }
    guard let donor else { return }
    if model.isGGUF, !becomesCheckpoint {
      try replaceMetadata()
    } else if case .files(let files) = donor.contents {
      try replaceFiles(files, donor)
    }
  }

  /// Access to the companion files of the output.
  var reader: CompanionReader {
    let own = Set(companions.filter { $0.source != nil }.map(\.companion.name))
    let (source, donor, companions) = (model.companionReader, donor, companions)
    return CompanionReader(
      names: companions.map(\.companion.name),
      path: { own.contains($0) ? source.path(of: $0) : donor?.path(of: $0) ?? $0 },
      revised: { own.contains($0) ? source.revised($0, $1) : $1 },
      read: { (name) throws(ModelError) in
        guard let plan = companions.first(where: { $0.companion.name == name }) else { return nil }
        if let text = plan.text { return text }
        return try source.bytes(of: name)
      })
  }

  /// The JSON document in a companion file of the output; nil if there is none with that name.
  ///
  /// Throws `malformed` for a document that is not JSON, and what reading throws.
  func document(_ name: String) throws(ModelError) -> JSONValue? {
    try reader.document(name)
  }

  /// The modules of sentence-transformers that the model lists.
  ///
  /// Throws what reading them throws.
  func modules() throws(ModelError) -> SentenceModules {
    let config = try document(Self.configFile).map(TextConfig.merged)
    let architecture = config.flatMap(Architectures.forConfig)
    return try SentenceModules(reader, hasDense: architecture?.traits.appliesDenseLayers ?? false)
  }

  /// What the files of another tokenizer state otherwise than the tokenizer of the output.
  ///
  /// Throws what reading them throws.
  func differences(from other: CompanionReader) throws(ModelError) -> [String] {
    let comparison: TokenizerComparison
    if let donor, case .metadata(let metadata) = donor.contents {
      comparison = try TokenizerComparison(of: other, with: metadata)
    } else if model.isGGUF {
      comparison = try TokenizerComparison(of: other, with: metadata)
    } else {
      comparison = try TokenizerComparison(of: other, with: reader)
    }
    return comparison.differences
  }

  /// A note if the tokenizer of a donor has tokens without a row in the embeddings of an output.
  ///
  /// Throws what reading the tokenizer throws.
  func notes(on tensors: [TensorInfo]) throws(ModelError) -> [String] {
    guard let donor, holdsCompanions,
      let table = tensors.first(where: {
        TensorNames.isEmbedding($0.name) && !TensorNames.isTower($0.name)
      })
    else { return [] }
    let rowCount = table.shape.rowCount
    let count = try reader.tokenCount(beyond: rowCount)
    guard count > 0 else { return [] }
    return [
      "the tokenizer of \(donor.path) has \(count) token\(count == 1 ? "" : "s") beyond the "
        + "\(rowCount) rows of the embeddings"
    ]
  }

  /// The tokenizer as metadata for llama.cpp.
  ///
  /// Throws what making it throws.
  func ggufTokenizer(
    _ architecture: Architecture, _ tokenCount: Int
  ) throws(ModelError) -> GGUFTokenizer {
    var tokenizer: GGUFTokenizer
    if let donor, case .metadata(let metadata) = donor.contents {
      tokenizer = try GGUFTokenizer(donor: metadata, path: donor.path, tokenCount: tokenCount)
    } else {
      tokenizer = try GGUFTokenizer(
        model.isGGUF ? donor?.reader ?? reader : reader,
        config: try document(Self.configFile) ?? .null, tokenCount: tokenCount,
        architecture: architecture, pre: preTokenizer)
    }
    tokenizer.noteMissingEnd()
    return tokenizer
  }

  /// Throws `usage` for tokenizer options that do not apply.
  private func checkOptions(_ destination: Destination) throws(ModelError) {
    let format = destination.format
    guard let donor else {
      guard preTokenizer != nil, !model.needsTranslation(to: format) else { return }
      throw ModelError(
        .usage, "--tokenizer-pre is only for converting a checkpoint to gguf",
        found: "\(model.format.name) to \(format.name)", hint: "leave --tokenizer-pre out")
    }
    let isMetadata = model.storesTokenizerAsMetadata(in: format)
    switch donor.contents {
    case .metadata where preTokenizer != nil:
      throw ModelError(
        .usage, "--tokenizer-from already determines the pre-tokenizer",
        found: "--tokenizer-pre and --tokenizer-from", hint: "leave one of them out")
    case .metadata where isMetadata, .files where isStored: break
    case .metadata where isStored:
      throw ModelError(
        .usage, "the tokenizer of a gguf model is only for gguf output", file: donor.path,
        expected: "a folder with tokenizer files", hint: "leave --tokenizer-from out")
    default:
      throw ModelError(
        .usage, "the output cannot store the tokenizer of --tokenizer-from",
        expected: "gguf, a pleat file or a folder", found: destination.path,
        hint: "leave --tokenizer-from out")
    }
  }
}

// MARK: - Replacing

extension OutputTokenizer {
  /// Replaces the tokenizer in the metadata of a llama.cpp model.
  ///
  /// Throws `unsupported` for an architecture that Pleat does not know.
  private mutating func replaceMetadata() throws(ModelError) {
    let name = metadata["general.architecture"]?.text ?? ""
    guard let architecture = Architectures.named(name),
      let table = model.catalog.tensors.first(where: { $0.name == "token_embd.weight" })
    else {
      throw ModelError(
        .unsupported, "Pleat does not know the tokenizers of this architecture", file: model.path,
        expected: Set(Architectures.all.map(\.ggufName)).sorted().joined(separator: ", "),
        found: name, hint: "leave --tokenizer-from out")
    }
    let tokenizer = try ggufTokenizer(architecture, table.shape.rowCount)
    notes += tokenizer.notes
    let others = metadata.entries.filter { !$0.key.hasPrefix(Self.prefix) }
    let position =
      metadata.entries.prefix { !$0.key.hasPrefix(Self.prefix) }.count
    var replaced = Metadata()
    for entry in others[..<position] + tokenizer.metadata.entries + others[position...] {
      replaced.append(entry.key, entry.value)
    }
    metadata = replaced
  }

  /// Replaces companion files by those of the donor.
  ///
  /// Files of the model that state the same kind of thing are left out, whatever their names. Throws
  /// what reading the files throws.
  private mutating func replaceFiles(
    _ files: [TokenizerDonor.File], _ donor: TokenizerDonor
  ) throws(ModelError) {
    let old = reader
    var kinds = Set(files.compactMap { TokenizerFileKind($0.name) })
    // A complete tokenizer without a template has none.
    if try hasTemplate(donor.reader) || kinds.isSuperset(of: [.vocabulary, .settings]) {
      kinds.insert(.template)
    }
    kinds.remove(.other)
    let names = Set(files.map(\.name))
    // Special tokens alone leave the other settings as they are.
    if !names.contains(TokenizerFileKind.settingsFile) { kinds.remove(.settings) }
    companions.removeAll { plan in
      let name = plan.companion.name
      return names.contains(name) || TokenizerFileKind(name).map(kinds.contains) ?? false
    }
    companions += files.map { file in
      CompanionPlan(
        companion: Companion(name: file.name, byteCount: file.bytes.count), source: nil,
        text: file.bytes)
    }
    if try hasTemplate(old), try !hasTemplate(reader) {
      notes.append("\(donor.path) brings no chat template, so the output has none")
    }
    try alignEnd(besides: try EndToken.text(in: old))
  }

  private func hasTemplate(_ reader: CompanionReader) throws(ModelError) -> Bool {
    try !ChatTemplates(reader).templates.isEmpty
  }

  /// Makes the configs state the token that ends a text as the new tokenizer does.
  ///
  /// Programs stop at the ids in these files, not at the token of the tokenizer. `old` is the text of
  /// that token before. Throws what reading the files throws.
  private mutating func alignEnd(besides old: String?) throws(ModelError) {
    let isReplaced = companions.contains {
      $0.source == nil && $0.companion.name == Self.generationFile
    }
    guard let text = try EndToken.text(in: reader) else { return }
    guard let end = try EndToken(text, in: reader) else {
      if text != old {
        notes.append("the configs keep their eos_token_id, because \(text) has no id of its own")
      }
      return
    }
    try change(Self.configFile, end, end.replacing)
    if !isReplaced { try change(Self.generationFile, end, end.adding) }
  }

  private mutating func change(
    _ name: String, _ end: EndToken, _ change: (JSONValue) -> JSONValue
  ) throws(ModelError) {
    guard let old = try document(name) else { return }
    let new = change(old)
    guard new != old else { return }
    replace(name, by: new)
    if holdsCompanions { notes.append("eos_token_id in \(name) becomes \(end.id)") }
  }

  private mutating func replace(_ name: String, by document: JSONValue) {
    guard let index = companions.firstIndex(where: { $0.companion.name == name }) else { return }
    companions[index].replace(by: document)
  }
}

extension Model {
  /// The companion files, copied unchanged.
  fileprivate var companionCopies: [CompanionPlan] {
    catalog.companions.enumerated().map { CompanionPlan(companion: $0.element, source: $0.offset) }
  }

  /// Whether an output in a format stores the tokenizer in its metadata, as llama.cpp does.
  fileprivate func storesTokenizerAsMetadata(in format: Format) -> Bool {
    needsTranslation(to: format)
      || isGGUF && format.container.features.contains(.typedMetadata)
  }
}
