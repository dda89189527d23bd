public import Bytes
public import Formats
package import SystemPackage
public import TensorModel

/// An opened model: its catalog, and access to the bytes behind it.
public struct Model: Sendable {
  /// The path that the user gave.
  public let path: String
  /// The format of the files.
  public let format: Format
  /// Tensors, metadata and companions.
  public let catalog: Catalog
  /// Whether it is an adapter folder rather than a model.
  public let isAdapter: Bool
  /// Notes for the user about the files.
  package let notes: [String]

  package let reader: any StoredReader
  package let gathered: [GatheredTensor]

  /// Opens a file, a folder, or an index of shards; reads headers, but no weights.
  ///
  /// For quantized checkpoints it also reads `config.json`, and zero points and group indices as far
  /// as the format needs them. Throws `io`, `malformed`, `unsupported`, `mismatch`, `limit`, or
  /// `usage` for a folder with several models.
  public static func open(
    _ path: String, limits: ReadLimits = ReadLimits()
  ) throws(ModelError) -> Model {
    let files = try ModelFiles(FilePath(path))
    let format = try Detection.format(of: files)
    let reader = try format.container.open(files, limits: limits)
    do throws(ModelError) {
      let (refined, notes) = try Detection.refined(format, reader)
      return try Model(
        path: path, refined, reader, limits, isAdapter: files.isAdapter, notes: notes)
    } catch {
      throw error.located(file: path)
    }
  }

  private init(
    path: String, _ format: Format, _ reader: any StoredReader, _ limits: ReadLimits,
    isAdapter: Bool, notes: [String]
  ) throws(ModelError) {
    self.path = path
    self.format = format
    self.reader = reader
    self.notes = notes
    self.isAdapter = isAdapter || reader.metadata["general.type"]?.text == "adapter"
    do throws(ModelError) {
      gathered = try format.codec.gather(reader.contents)
    } catch {
      throw error.located(file: path)
    }
    for tensor in gathered where tensor.info.isGrouped {
      guard tensor.info.shape.columnCount <= limits.columnCount else {
        throw ModelError(
          .limit, "a row is too long", file: path, tensor: tensor.info.name,
          expected: "at most \(limits.columnCount) columns",
          found: "\(tensor.info.shape.columnCount)")
      }
    }
    catalog = Catalog(
      tensors: gathered.map(\.info), metadata: reader.metadata, companions: reader.companions)
  }

  /// The names of the adapters that are stored in the model.
  public var attachedNames: [String] { reader.attached.map(\.name) }

  /// The number of files that contain weights.
  public var fileCount: Int { reader.files.count }

  /// The length of these files in bytes.
  public var byteCount: Int { reader.files.reduce(0) { $0 + $1.byteCount } }

  /// The number of bytes that tensors take in the files, without headers and padding.
  public var tensorByteCount: Int { reader.modelStored.reduce(0) { $0 + $1.storedByteCount } }

  /// The number of bytes that a tensor takes in the files.
  public func storedByteCount(of tensor: Int) -> Int {
    parts(of: tensor).reduce(0) { $0 + $1.storedByteCount }
  }

  /// The operations that were applied to the weights, oldest first.
  ///
  /// They are read from the provenance, or from the metadata of a file without provenance.
  package var history: [JSONValue] {
    if let provenance = reader.provenance { return provenance.history }
    guard let text = catalog.metadata[Provenance.historyKey]?.text,
      let document = try? JSONParser.parse(Array(text.utf8), file: path)
    else { return [] }
    return document.array ?? []
  }

  /// The stored tensors of a weight, in the codec's order.
  package func parts(of tensor: Int) -> [StoredTensor] {
    let (parts, layouts) = (gathered[tensor].parts, gathered[tensor].layouts)
    return parts.indices.map { part in
      var stored = reader.stored[parts[part]]
      if !layouts.isEmpty { stored.rows = layouts[part] }
      return stored
    }
  }

  /// Whether writing to a path would change a file of the model, or the folder that contains it.
  package func reads(_ path: FilePath) -> Bool {
    FileSystem.isSame(path, FilePath(self.path))
      || reader.inputPaths.contains {
        FileSystem.isSame($0, path) || FileSystem.isSame($0.parentFolder, path)
      }
  }

  /// The bytes of a small companion file; nil if there is none with that name.
  ///
  /// Throws `limit` if it is larger than a header may be, and what reading throws.
  public func companion(
    named name: String, limits: ReadLimits = ReadLimits()
  ) throws(ModelError) -> [UInt8]? {
    guard let index = catalog.companions.firstIndex(where: { $0.name == name }) else { return nil }
    guard catalog.companions[index].byteCount <= limits.headerByteCount else {
      throw ModelError(
        .limit, "\(name) is too large", file: path,
        expected: "at most \(limits.headerByteCount) bytes",
        found: "\(catalog.companions[index].byteCount)")
    }
    var bytes = [UInt8](repeating: 0, count: catalog.companions[index].byteCount)
    try bytes.change(bytes.indices) { (bytes) throws(ModelError) in
      try reader.readCompanion(index, at: 0, into: &bytes)
    }
    return bytes
  }
}
