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
  /// Why some tensors cannot be read as numbers; nil if Pleat decodes all packed weights.
  ///
  /// `inspect` shows such a model. Everything that would take packed words for numbers calls
  /// `requireNumbers` first.
  public let packedFault: ModelError?

  package let reader: any StoredReader
  package let gathered: GatheredTensors
  /// The model whose tensors the views are read from; nil without views.
  let origin: ModelOrigin?

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
      let refined = try Detection.refined(format, reader, file: path)
      // Tables of names that only opening needs take as much as a large model does.
      defer { Platform.returnFreedMemory() }
      return try Model(path: path, refined, reader, limits, isAdapter: files.isAdapter)
    } catch {
      throw error.located(file: path)
    }
  }

  private init(
    path: String, _ refined: Detection.Refinement, _ reader: any StoredReader,
    _ limits: ReadLimits, isAdapter: Bool
  ) throws(ModelError) {
    self.path = path
    origin = nil
    format = refined.format
    self.reader = reader
    self.isAdapter = isAdapter || reader.metadata["general.type"]?.text == "adapter"
    var refined = refined
    var gathered: [GatheredTensor]
    do throws(ModelError) {
      gathered = try format.codec.gather(reader.contents)
    } catch {
      guard error.kind == .unsupported, format.needsConfig || refined.fault != nil else {
        throw error.located(file: path)
      }
      gathered = PlainCodec().gather(reader.contents)
      refined.fault = error
    }
    refined.decodes(gathered.count { $0.info.hasParts }, notes: [])
    do throws(ModelError) {
      if let config = refined.scaled {
        let scaled = try ScaledWeights(gathered, in: reader.contents, config)
        gathered = scaled.tensors
        refined.decodes(scaled.count, notes: scaled.notes)
      }
    } catch {
      guard error.kind == .unsupported else { throw error.located(file: path) }
      refined.fault = error
    }
    let (fault, notes) = refined.verdict(packed: Self.packedTensor(reader, gathered))
    packedFault = fault?.located(file: path)
    self.notes = reader.notes + notes
    for tensor in gathered where tensor.info.hasParts {
      guard tensor.info.shape.columnCount <= limits.columnCount else {
        throw ModelError(
          .limit, "a row is too long", file: path, tensor: tensor.info.name,
          expected: "at most \(limits.columnCount) columns",
          found: "\(tensor.info.shape.columnCount)")
      }
    }
    self.gathered = GatheredTensors(gathered)
    catalog = Catalog(
      tensors: self.gathered.infos, metadata: reader.metadata, companions: reader.companions)
  }

  /// A model with weights that are read from those of another one.
  init(_ gathered: [GatheredTensor], from origin: ModelOrigin) {
    let model = origin.model
    self.origin = origin
    path = model.path
    format = model.format
    reader = model.reader
    isAdapter = model.isAdapter
    notes = model.notes
    packedFault = model.packedFault
    self.gathered = GatheredTensors(gathered)
    catalog = Catalog(
      tensors: self.gathered.infos, metadata: model.catalog.metadata,
      companions: model.catalog.companions)
  }

  /// The error for the first tensor of packed words that the codec did not make a weight of.
  private static func packedTensor(
    _ reader: any StoredReader, _ gathered: [GatheredTensor]
  ) -> ModelError? {
    // Every type of a GGUF file says by itself what its bytes are.
    guard reader.metadata["general.architecture"] == nil else { return nil }
    guard let recognizer = PackedTensors(reader.stored) else { return nil }
    return gathered.lazy.filter { !$0.info.hasParts }
      .compactMap { recognizer.fault(at: $0.parts[0]) }.first
  }

  /// What the tensors are for.
  public var kind: ModelKind { isAdapter ? .adapter : catalog.kind }

  /// Throws `packedFault`, if there is one, and what `requireModel` throws.
  package func requireNumbers() throws(ModelError) {
    if let packedFault { throw packedFault }
    try requireModel()
  }

  /// Throws `unsupported` unless the tensors are weights: of a model or of the towers beside it.
  package func requireModel() throws(ModelError) {
    let (what, hint): (String, String)
    switch kind {
    case .model, .projector: return
    case .adapter:
      (what, hint) = ("an adapter", "name its base model, and this one with --adapter")
    case .importanceMatrix:
      (what, hint) = (
        "an importance matrix of llama-imatrix", "name the model that it was measured on"
      )
    case .controlVector:
      (what, hint) = ("a control vector of llama.cpp", "name the model that it was made for")
    case .vocabulary:
      (what, hint) = (
        "a vocabulary of llama.cpp without weights",
        "name the model that it belongs to; --tokenizer-from takes its tokenizer"
      )
    }
    throw ModelError(
      .unsupported, "\(what), not a model", file: path, expected: "the weights of a model",
      hint: hint)
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

  /// The stored tensors of a weight, in the codec's order; those of a view as if it were stored.
  package func parts(of tensor: Int) -> [StoredTensor] {
    let weight = gathered[tensor]
    if weight.view != nil { return viewedParts(of: tensor) }
    return weight.parts.indices.map { part in
      var stored = storedPart(part, of: weight)
      if !weight.layouts.isEmpty { stored.rows = weight.layouts[part] }
      return stored
    }
  }

  /// Whether another weight is stored in the same form, so that only names and places differ.
  ///
  /// Views that move rows are, whichever rows they have.
  package func storesAlike(_ tensor: Int, _ other: Int) -> Bool {
    gathered[tensor].isLike(gathered[other], in: reader.stored)
  }

  /// The stored tensor of a part, with the encoding of the bytes that `readPart` gives.
  func storedPart(_ part: Int, of weight: GatheredTensor) -> StoredTensor {
    var stored = reader.stored[weight.parts[part]]
    if !weight.forms.isEmpty { stored.encoding = weight.forms[part].encoding(stored.encoding) }
    return stored
  }

  /// Where the bytes of a part are in a file, if they are there as `read` gives them; otherwise nil.
  package func location(of tensor: Int, part: Int) -> StoredLocation? {
    let weight = gathered[tensor]
    return weight.view == nil && weight.forms.isEmpty
      ? reader.location(of: weight.parts[part]) : nil
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
