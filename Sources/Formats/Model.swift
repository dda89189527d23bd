public import Bytes
package import SystemPackage
public import TensorModel

/// An opened model: its catalog, and access to the bytes behind it.
public struct Model: Sendable {
  /// The path as it was given.
  public let path: String
  /// What the files are.
  public let format: Format
  /// Tensors, metadata and companions.
  public let catalog: Catalog
  /// Whether it is an adapter folder rather than a model.
  public let isAdapter: Bool

  package let reader: any StoredReader
  package let gathered: [GatheredTensor]

  /// Opens a file, a folder, or an index of shards; reads headers only.
  ///
  /// Throws `io`, `malformed`, `unsupported` or `limit`.
  public static func open(
    _ path: String, limits: ReadLimits = ReadLimits()
  ) throws(ModelError) -> Model {
    let place = try ModelPlace(FilePath(path))
    let format = try Detection.format(of: place)
    let reader = try format.container.open(place, limits: limits)
    do throws(ModelError) {
      return try Model(
        path: path, try Detection.refined(format, reader), reader, limits,
        isAdapter: place.isAdapter)
    } catch {
      throw error.located(file: path)
    }
  }

  private init(
    path: String, _ format: Format, _ reader: any StoredReader, _ limits: ReadLimits,
    isAdapter: Bool
  ) throws(ModelError) {
    self.path = path
    self.format = format
    self.reader = reader
    self.isAdapter = isAdapter || reader.metadata["general.type"]?.text == "adapter"
    do throws(ModelError) {
      gathered = try format.spelling.gather(reader.contents)
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

  /// The names of the adapters that the model carries.
  public var attachedNames: [String] { reader.attached.map(\.name) }

  /// The number of files that hold weights.
  public var fileCount: Int { reader.files.count }

  /// The length of these files in bytes.
  public var byteCount: Int { reader.files.reduce(0) { $0 + $1.byteCount } }

  /// The bytes that tensors take as they are stored, without headers and padding.
  public var tensorByteCount: Int { reader.modelStored.reduce(0) { $0 + $1.storedByteCount } }

  /// The bytes that a tensor takes as it is stored.
  public func storedByteCount(of tensor: Int) -> Int {
    parts(of: tensor).reduce(0) { $0 + $1.storedByteCount }
  }

  /// What was done to the weights, oldest first: from the provenance, or the metadata of a file that
  /// has none.
  package var history: [JSONValue] {
    if let provenance = reader.provenance { return provenance.history }
    guard let text = catalog.metadata[Provenance.historyKey]?.text,
      let document = try? JSONParser.parse(Array(text.utf8), file: path)
    else { return [] }
    return document.array ?? []
  }

  /// The stored tensors of a weight, in the spelling's order.
  package func parts(of tensor: Int) -> [StoredTensor] {
    let (parts, layouts) = (gathered[tensor].parts, gathered[tensor].layouts)
    return parts.indices.map { part in
      var stored = reader.stored[parts[part]]
      if !layouts.isEmpty { stored.rows = layouts[part] }
      return stored
    }
  }

  /// Whether writing to a path would change a file that is read, or the folder it is in.
  package func uses(_ path: FilePath) -> Bool {
    FileSystem.isSame(path, FilePath(self.path))
      || reader.inputPaths.contains {
        FileSystem.isSame($0, path) || FileSystem.isSame($0.parentFolder, path)
      }
  }

  /// The text of a small companion file; nil when there is none of that name.
  ///
  /// Throws `limit` for one that is larger than a header may be, and what reading throws.
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
