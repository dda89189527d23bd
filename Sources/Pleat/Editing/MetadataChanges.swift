internal import Bytes
internal import Formats
internal import SystemPackage
public import TensorModel
public import Weights

/// Changes of a model's metadata, each checked against the model.
///
/// Keys that say what and where the tensors are cannot be changed.
public struct MetadataChanges: Sendable {
  /// A change of one entry.
  public struct Change: Sendable, Hashable {
    /// The key.
    public let key: String
    /// The value before; nil for a new key.
    public let old: MetadataValue?
    /// The value after; nil for a key that is removed.
    public let new: MetadataValue?
  }

  /// The changes; no two have the same key, and each has an effect.
  public private(set) var changes: [Change] = []
  /// Notes for the user.
  public private(set) var notes: [String] = []
  /// The paths of files that were read for the changes.
  private(set) var inputs: [String] = []

  let metadata: Metadata
  /// Whether values have types; otherwise all are text.
  let isTyped: Bool
  private var keys: [String] = []  // all that the user named

  /// No changes of the metadata of a model.
  public init(of model: Model) {
    self.init(
      of: model.catalog.metadata,
      isTyped: model.format.container.features.contains(.typedMetadata))
  }

  /// No changes of metadata whose values have types, or are all text.
  package init(of metadata: Metadata, isTyped: Bool) {
    self.metadata = metadata
    self.isTyped = isTyped
  }

  /// Sets a key to a value.
  ///
  /// An existing key keeps its type, unless the text names one. A new key gets the type that it has
  /// in llama.cpp; an unknown key becomes text. For the id of a token, the value may be its text.
  ///
  /// - Parameter assignment: A text such as `general.name=Tiny`, or with a type `my.key:u32=7`.
  /// - Throws: `usage` for a value that does not fit the type, and for keys that cannot be set.
  public mutating func set(_ assignment: String) throws(ModelError) {
    guard let equals = assignment.utf8.firstIndex(of: UInt8(ascii: "=")) else {
      throw ModelError(
        .usage, "a change needs a key and a value", expected: "key=value", found: assignment)
    }
    let (key, stated) = try keyAndType(String(assignment[..<equals]))
    let text = String(assignment[assignment.utf8.index(after: equals)...])
    try checkChange(of: key)
    let old = metadata[key]
    let known = stated ?? old?.type
    let type = if let known { known } else { try typeOfNewKey(key, text) }
    if old?.type == .array || type == .array {
      throw ModelError(
        .usage, "an array cannot be set", tensor: key,
        hint: old == nil ? nil : "--remove \(key) removes it")
    }
    if let old, old.type != type {
      notes.append("\(key) was \(old.type) and becomes \(type)")
    }
    append(Change(key: key, old: old, new: try value(text, of: type, for: key)))
  }

  /// Removes a key.
  ///
  /// Throws `usage` if there is no such key, or if it cannot be removed.
  public mutating func remove(_ key: String) throws(ModelError) {
    try checkChange(of: key)
    guard let old = metadata[key] else {
      let near = NearName.nearest(to: key, among: metadata.entries.map(\.key), count: 3)
      throw ModelError(
        .usage, "the metadata has no such key", tensor: key,
        hint: near.isEmpty
          ? "pleat inspect --metadata lists the keys" : "did you mean \(near.choices)?")
    }
    append(Change(key: key, old: old, new: nil))
  }

  /// Replaces all chat templates of a GGUF model by those in a file.
  ///
  /// - Parameter path: A file with the text of a template, or a JSON file with `chat_template`, such
  ///   as tokenizer_config.json.
  /// - Throws: `unsupported` for other models, `malformed` for a file without a template, `limit`,
  ///   and what reading throws.
  public mutating func setChatTemplate(fromFile path: String) throws(ModelError) {
    guard isTyped else {
      throw ModelError(
        .unsupported, "a checkpoint has its chat template in a file of its own",
        found: "--chat-template", hint: "replace chat_template.jinja beside the weights")
    }
    let limits = ReadLimits()
    let file = try InputFile(FilePath(path))
    inputs.append(path)
    guard file.byteCount <= limits.headerByteCount else {
      throw ModelError(
        .limit, "the file is too large for a chat template", file: path,
        expected: "at most \(limits.headerByteCount) bytes", found: "\(file.byteCount)")
    }
    let templates = try ChatTemplateFile.metadata(
      try file.bytes(at: 0, count: file.byteCount), path: path)
    for entry in metadata.entries
    where ChatTemplates.isKey(entry.key) && templates[entry.key] == nil {
      try checkChange(of: entry.key)
      append(Change(key: entry.key, old: entry.value, new: nil))
    }
    for entry in templates.entries {
      try checkChange(of: entry.key)
      append(Change(key: entry.key, old: metadata[entry.key], new: entry.value))
    }
  }

  /// Appends a change, or a note if it has no effect.
  private mutating func append(_ change: Change) {
    keys.append(change.key)
    guard change.old != change.new else {
      notes.append("\(change.key) has this value already")
      return
    }
    changes.append(change)
  }

  /// Throws `usage` for a key that cannot be changed, or that is changed already.
  private func checkChange(of key: String) throws(ModelError) {
    guard !key.isEmpty else { throw ModelError(.usage, "the key is empty") }
    guard !keys.contains(where: { $0.hasSameBytes(as: key) }) else {
      throw ModelError(.usage, "the key is changed twice", tensor: key)
    }
    guard let reason = ProtectedKeys.reason(for: key, isTyped: isTyped) else { return }
    throw ModelError(.usage, "the key cannot be changed: \(reason)", tensor: key)
  }

  /// The metadata of a file with these changes.
  package func applied(to metadata: Metadata) -> Metadata {
    var metadata = metadata
    for change in changes { metadata[change.key] = change.new }
    return metadata
  }
}

/// The keys that must keep their values.
private enum ProtectedKeys {
  private static let reasons = [
    "general.architecture": "it says what the tensors are",
    "general.alignment": "it says where the tensors are",
    "tokenizer.ggml.tokens": tokenReason,
    "tokenizer.ggml.token_type": tokenReason,
    "tokenizer.ggml.scores": tokenReason,
    "tokenizer.ggml.merges": tokenReason,
    Provenance.historyKey: "it says which adapters are folded in",
  ]
  private static let tokenReason = "it is the vocabulary that the embeddings belong to"

  /// Why a key cannot be changed; nil if it can.
  static func reason(for key: String, isTyped: Bool) -> String? {
    if isTyped, key.hasPrefix("split.") { return "it counts the files of the model" }
    if !isTyped, key == "format" { return "it says which framework the tensors are for" }
    return reasons[key]
  }
}
