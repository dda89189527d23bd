internal import Adapters
internal import Architectures
internal import Bytes
internal import Formats
internal import TensorModel
internal import Weights

/// The weights of a model by the names of llama.cpp, whatever names its file has.
struct NetworkWeights: Sendable {
  private let adapters: UnmergedAdapters
  private let reader: WeightReader
  private let tensors: [TensorInfo]
  /// The tensors of the file, of which `tensors` may be views.
  private let stored: [TensorInfo]
  private var places: [String: [Place]] = [:]
  /// The metadata of a GGUF file.
  private var metadata = Metadata()

  /// Where a weight is: in a tensor, or in a part of it.
  private struct Place {
    var tensor: Int
    /// The number of the matrix of a stack that the tensor is; nil for other tensors.
    var expert: Int?
    /// The part of the rows of every matrix, if the tensor has several weights.
    var part = (index: 0, count: 1)
  }

  /// The weights of a GGUF file.
  init(gguf model: Model, _ adapters: UnmergedAdapters) {
    self.adapters = adapters
    reader = WeightReader(model: model)
    tensors = model.catalog.tensors
    stored = tensors
    metadata = model.catalog.metadata
    for (index, tensor) in tensors.enumerated() {
      places[tensor.name, default: []].append(Place(tensor: index))
    }
  }

  /// The weights of a checkpoint.
  ///
  /// `arranged` is the model with tensors as llama.cpp arranges them, which may be `model`.
  /// Throws `malformed` for tensors that contradict the config, `unsupported` for tensors that the
  /// architecture lacks.
  init(
    checkpoint model: Model, arranged: Model, config: JSONValue, _ architecture: Architecture,
    _ parameters: Hyperparameters, tokenCount: Int, _ adapters: UnmergedAdapters
  ) throws(ModelError) {
    self.adapters = adapters
    reader = WeightReader(model: arranged)
    tensors = arranged.catalog.tensors
    stored = model.catalog.tensors
    let checks = CheckpointChecks(architecture, config: config, for: .transformers)
    let families = TensorFamilies(tensors)
    try checks.checkIsOneModel(families)
    var unknown: [String] = []
    for (index, tensor) in tensors.enumerated() {
      if let (layer, key) = architecture.layerNumber(ofHuggingFaceName: tensor.name) {
        places["\(key).\(layer)"] = [Place(tensor: index)]
        continue
      }
      if TensorNames.isTower(tensor.name) || TensorNames.isRotaryTable(tensor.name)
        || architecture.leavesOut(tensor.name, layerCount: parameters.layerCount)
        || architecture.leavesOut(tensor.name)
        // The embeddings are the head.
        || architecture.leavesOutHead && TensorNames.isTextHead(tensor.name)
      {
        continue
      }
      guard try checks.accepts(tensor, parameters.sizes, tokenCount: tokenCount),
        let placement = try GGUFTranslation.placement(of: tensor, architecture, parameters)
      else {
        unknown.append(tensor.name)
        continue
      }
      let names = placement.names
      for (part, name) in names.enumerated() {
        let expert = placement.stack?.index
        if let other = places[name]?.first(where: { $0.expert == expert }) {
          throw ModelError(
            .malformed, "two tensors are the same weight", tensor: tensor.name,
            expected: "one tensor for \(name)",
            found: "\(tensors[other.tensor].name) and \(tensor.name)")
        }
        places[name, default: []].append(
          Place(tensor: index, expert: expert, part: (part, names.count)))
      }
    }
    try checks.refuse(unknown)
    try checks.checkIsComplete(families, parameters.sizes)
  }

  /// Whether the model has a weight.
  func has(_ name: String) -> Bool { places[name] != nil }

  /// A matrix, or that of one expert of a stack.
  ///
  /// - Parameters:
  ///   - name: llama.cpp's name.
  ///   - expert: The number of the expert; nil for a matrix that is no part of a stack.
  ///   - expertCount: The number of experts of the stack.
  ///   - part: The part of the rows, of a matrix that computes several things.
  ///   - use: How the matrix is used.
  /// - Returns: The matrix, from which nothing is read yet.
  /// - Throws: `malformed` if the model lacks it, and what `WeightMatrix` throws.
  func matrix(
    _ name: String, expert: Int? = nil, expertCount: Int = 1,
    part: (index: Int, count: Int) = (0, 1), for use: WeightMatrix.Use = .product
  ) throws(ModelError) -> WeightMatrix {
    let found = places[name]?.first { $0.expert == nil || $0.expert == expert }
    guard let place = found else {
      throw ModelError(.malformed, "the model lacks a tensor", tensor: name)
    }
    let tensor = tensors[place.tensor]
    let count = tensor.shape.rowCount
    let isStack = expert != nil && place.expert == nil
    let matrixCount = isStack ? expertCount : 1
    let partCount = place.part.count * part.count
    guard count.isMultiple(of: matrixCount * partCount) else {
      throw ModelError(
        .malformed, "the rows of a tensor cannot be divided", tensor: tensor.name,
        expected: "a multiple of \(matrixCount * partCount)", found: "\(count)")
    }
    let length = count / matrixCount / partCount
    let first = place.part.index * part.count + part.index
    let start = ((isStack ? expert ?? 0 : 0) * partCount + first) * length
    return try matrix(place.tensor, rows: start..<start + length, for: use)
  }

  /// Some rows of a matrix with several weights.
  ///
  /// Throws what `matrix` throws.
  func matrix(_ name: String, rows: Range<Int>) throws(ModelError) -> WeightMatrix {
    guard let place = places[name]?.first, tensors[place.tensor].shape.rowCount >= rows.upperBound
    else { throw ModelError(.malformed, "the model lacks rows of a tensor", tensor: name) }
    return try matrix(place.tensor, rows: rows, for: .product)
  }

  /// The embeddings as a head, with what adapters change in the head.
  ///
  /// Throws what `matrix` throws.
  func embeddingsAsHead() throws(ModelError) -> WeightMatrix {
    guard let table = places[TensorNames.ggufEmbeddings]?.first?.tensor else {
      throw ModelError(
        .malformed, "the model lacks a tensor", tensor: TensorNames.ggufEmbeddings)
    }
    let head = stored.firstIndex { TensorNames.isTextHead($0.name) } ?? stored.count
    return try WeightMatrix(
      tensors[table].name, table, of: reader, changes: adapters.changes(of: head), of: adapters,
      for: .product)
  }

  /// Throws `unsupported` for a change by an adapter that no weight has.
  func checkAdapters() throws(ModelError) { try adapters.checkAreApplied(to: stored) }

  /// Throws `unsupported` for a tensor of the file that no weight was read from.
  ///
  /// `isUnused` says which tensors a model may have for other uses.
  func checkAreUsed(except isUnused: (TensorInfo) -> Bool) throws(ModelError) {
    for (index, tensor) in stored.enumerated() where !isUnused(tensor) {
      guard !adapters.uses(index) else { continue }
      throw ModelError(
        .unsupported, "Pleat has no use for a tensor when it runs the model", tensor: tensor.name,
        expected: "the tensors that llama.cpp's converter writes")
    }
  }

  private func matrix(
    _ index: Int, rows: Range<Int>? = nil, for use: WeightMatrix.Use
  ) throws(ModelError) -> WeightMatrix {
    let source = reader.origin(of: index)
    let changes = adapters.changes(of: source)
    guard let view = reader.view(index), !changes.isEmpty else {
      return try WeightMatrix(
        tensors[index].name, index, of: reader, rows: rows, changes: changes, of: adapters,
        for: use)
    }
    let rows = rows ?? 0..<tensors[index].shape.rowCount
    let terms = LowRankTerm.terms(changes, ofRows: rows, of: view, stored[source].shape)
    guard let terms, use == .product else {
      throw ModelError(
        .unsupported,
        "an adapter changes a tensor that is arranged in another way to run the model",
        tensor: tensors[index].name, expected: "a product that is added to the tensor",
        hint: "fold it first: pleat fold --adapter")
    }
    return try WeightMatrix(
      tensors[index].name, index, of: reader, rows: rows, terms: terms, of: adapters)
  }

  /// A number of a layer, which has a tensor of its own in a checkpoint, and which llama.cpp has in a
  /// list in the metadata; nil if the model lacks it.
  ///
  /// Throws what reading throws.
  func number(_ key: String, ofLayer layer: Int) throws(ModelError) -> Float? {
    if let numbers = try vector("\(key).\(layer)") {
      return numbers.count == 1 ? numbers[0] : nil
    }
    return metadata.number(key, at: layer)
  }

  /// All numbers of a vector; nil if the model lacks it.
  ///
  /// Throws what reading throws.
  func vector(_ name: String) throws(ModelError) -> [Float]? {
    guard let place = places[name]?.first else { return nil }
    let matrix = try matrix(place.tensor, for: .rows)
    return try matrix.values(0..<matrix.rowCount)
  }
}

extension Metadata {
  /// A float of a list, or one that counts for all places of it; nil if there is none.
  fileprivate func number(_ key: String, at index: Int) -> Float? {
    switch self[key] {
    case .float(let number): return number
    case .array(let list) where list.elementType == .f32 && index < list.count:
      let bytes = list.bytes[4 * index..<4 * index + 4]
      return Float(bitPattern: bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) })
    default: return nil
    }
  }
}
