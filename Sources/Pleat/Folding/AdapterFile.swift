public import Adapters
internal import Bytes
internal import Formats
internal import Kernels
internal import Quantization
internal import SystemPackage
public import TensorModel
public import Weights

/// An opened adapter: its changes, and access to their numbers.
public struct AdapterFile: Sendable {
  /// The changes, with the names and shapes of the tensors.
  public private(set) var adapter: Adapter
  /// The last component of the path, or the name in the model that carries the adapter.
  public let name: String
  /// The CRC-32C of the tensor file, by which a history identifies the adapter.
  public let checksum: String
  /// The files that hold the tensors, or the model that carries the adapter.
  public let model: Model

  /// Whether a model carries the adapter.
  package internal(set) var isAttached = false
  /// The config beside the tensors, or the metadata of a GGUF file as an object; null if absent.
  package let config: JSONValue
  /// For each tensor of the adapter, the index of the stored tensor.
  package let stored: [Int]

  /// Opens an adapter of PEFT, MLX or llama.cpp: a folder or a file.
  ///
  /// Reads the headers, and the complete tensor file for its checksum. Throws `io`, `malformed`,
  /// `unsupported`, `mismatch` or `limit`.
  public static func open(
    _ path: String, limits: ReadLimits = ReadLimits()
  ) throws(ModelError) -> AdapterFile {
    let file = try weights(at: FilePath(path))
    let model = try Model.open(file.string, limits: limits)
    let config =
      model.catalog.metadata["general.type"] != nil
      ? Self.document(model.catalog.metadata) : try Self.config(beside: file)
    let contents = AdapterContents(
      path: path, config: config, tensors: model.catalog.tensors)
    return try AdapterFile(
      contents, name: name(of: FilePath(path)), checksum: try checksum(of: model), model,
      stored: Array(model.catalog.tensors.indices))
  }

  package init(
    _ contents: AdapterContents, name: String, checksum: String, _ model: Model, stored: [Int]
  ) throws(ModelError) {
    adapter = try AdapterKind(contents).read(contents)
    config = contents.config
    self.name = name
    self.checksum = checksum
    self.model = model
    self.stored = stored
    try leaveOutRepeats()
  }

  /// Leaves out whole tensors that equal another one for the same tensor of the base model.
  ///
  /// If tokens were added, PEFT saves the tables of `modules_to_save` twice. Throws what reading
  /// throws.
  private mutating func leaveOutRepeats() throws(ModelError) {
    var first: [ExactName: Int] = [:]
    var kept: [AdapterChange] = []
    for change in adapter.changes {
      let candidate = change.candidates[0]
      if case .replacement(let tensor) = candidate.operation {
        let target = ExactName(candidate.target)
        if let other = first[target], try areEqual(tensor, other) { continue }
        first[target] = tensor
      }
      kept.append(change)
    }
    adapter.changes = kept
  }

  // MARK: - Finding the files

  private static func weights(at path: FilePath) throws(ModelError) -> FilePath {
    switch FileSystem.kind(of: path) {
    case nil:
      throw ModelError(.io, "no such file or folder", file: path.string)
    case .folder:
      let names = FileSystem.names(in: path)
      for name in ModelFiles.adapterNames where names.contains(name) {
        return path.appending(name)
      }
      let gguf = names.filter { $0.hasSuffix(".gguf") }
      if gguf.count == 1 { return path.appending(gguf[0]) }
      throw noAdapter(path, isPickle: names.contains("adapter_model.bin"))
    default:
      guard path.extension != "bin" else { throw noAdapter(path, isPickle: true) }
      // The path of a config stands for its folder.
      return path.name == "adapter_config.json" ? try weights(at: path.parentFolder) : path
    }
  }

  private static func noAdapter(_ path: FilePath, isPickle: Bool) -> ModelError {
    ModelError(
      isPickle ? .unsupported : .io,
      isPickle ? "the adapter is a PyTorch pickle" : "no adapter in this folder",
      file: path.string,
      expected: "adapter_model.safetensors, adapters.safetensors or a .gguf file",
      found: isPickle ? "adapter_model.bin" : nil,
      hint: isPickle
        ? "load it in PEFT and save it again: model.save_pretrained(path) writes safetensors" : nil)
  }

  private static func config(beside file: FilePath) throws(ModelError) -> JSONValue {
    let path = file.sibling("adapter_config.json")
    guard FileSystem.kind(of: path) == .file else { return .null }
    let input = try InputFile(path)
    return try JSONParser.parse(
      try input.bytes(at: 0, count: input.byteCount), file: path.string, allowingNonFinite: true)
  }

  /// Metadata as an object, with empty arrays in place of all arrays.
  private static func document(_ metadata: Metadata) -> JSONValue {
    .object(
      metadata.entries.compactMap { entry in
        if case .array = entry.value { return .init(entry.key, .array([])) }
        return .init(entry.key, entry.value.json)
      })
  }

  private static func checksum(of model: Model) throws(ModelError) -> String {
    var checksum = CRC32C()
    for file in model.reader.files {
      checksum.append(try file.checksum(), byteCount: file.byteCount)
    }
    return checksum.text
  }

  /// The names of the files in an adapter folder whose paths stand for the folder.
  static let fileNames = ModelFiles.adapterNames + ["adapter_config.json"]

  private static func name(of path: FilePath) -> String {
    let name = path.name.isEmpty || path.name == "." ? path.string : path.name
    return fileNames.contains(name)
      ? path.parentFolder.name : name
  }
}

extension AdapterFile: AdapterNumbers {
  /// Whether two tensors of the adapter have the same numbers, as many and in the same order.
  ///
  /// Throws what reading throws.
  func areEqual(_ tensor: Int, _ other: Int) throws(ModelError) -> Bool {
    let count = adapter.tensors[tensor].shape.elementCount
    guard adapter.tensors[other].shape.elementCount == count else { return false }
    for first in stride(from: 0, to: count, by: 1 << 18) {
      let range = first..<min(first + (1 << 18), count)
      guard try numbers(of: tensor, range) == numbers(of: other, range) else { return false }
    }
    return true
  }

  package func numbers(of tensor: Int, _ elements: Range<Int>) throws(ModelError) -> [Float] {
    try model.numbers(ofStored: stored[tensor], elements, name: adapter.tensors[tensor].name)
  }
}

extension Model {
  /// A range of elements of a stored tensor, as floats.
  ///
  /// Throws what reading throws, and `unsupported` if Pleat does not decode the encoding.
  func numbers(
    ofStored index: Int, _ elements: Range<Int>, name: String
  ) throws(ModelError) -> [Float] {
    let stored = reader.stored[index]
    guard let decoder = RowDecoder(stored.encoding) else {
      throw ModelError(
        .unsupported, "Pleat cannot decode the tensor", file: path, tensor: name,
        found: stored.encoding.description)
    }
    let (count, byteCount) = stored.encoding.block
    // Blocks are decoded completely, even if only a part of one is in the range.
    let first = elements.lowerBound / count
    let blocks = first..<(elements.upperBound + count - 1) / count
    var bytes = [UInt8](repeating: 0, count: blocks.count * byteCount)
    try bytes.change(0..<bytes.count) { (span) throws(ModelError) in
      try reader.read(index, at: first * byteCount, into: &span)
    }
    var values = [Float](repeating: 0, count: blocks.count * count)
    decoder.decode(bytes[...], into: &values)
    guard values.count != elements.count else { return values }
    return Array(values[(elements.lowerBound - first * count)...].prefix(elements.count))
  }
}
