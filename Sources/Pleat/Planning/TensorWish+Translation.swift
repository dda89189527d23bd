internal import Adapters
package import Architectures
package import Formats
internal import Quantization
package import TensorModel
internal import Weights

extension TensorWish {
  /// The wish under the name of a runtime, with the row order and the numbers that it expects.
  ///
  /// - Parameters:
  ///   - placement: The translation of the tensor; nil if it is left out.
  ///   - runtime: The runtime.
  /// - Returns: The wish.
  /// - Throws: `unsupported` if the runtime needs a form that the tensor cannot get, or if an
  ///   adapter changes a norm that 1 is added to.
  package func translated(
    _ placement: TensorPlacement?, for runtime: Runtime
  ) throws(ModelError) -> TensorWish {
    var wish = self
    guard let placement else {
      guard !transform.foldsAdapters else {
        throw ModelError(
          .unsupported, "the adapter changes a tensor that \(runtime.rawValue) has no place for",
          tensor: source.name,
          hint: "fold into a safetensors folder, or remove the tensor from the adapter")
      }
      wish.transform = .omit
      wish.reason = "\(runtime.rawValue) does not use it"
      return wish
    }
    if case .omit = transform { return wish }
    if let refusal = placement.refusal {
      throw ModelError(
        .unsupported, "\(runtime.rawValue) cannot read the tensor", tensor: source.name,
        found: refusal, hint: "write another format, such as --to safetensors")
    }
    wish.placement = placement
    wish.target.name = placement.name
    if placement.isFloat32 {
      try wish.becomeFloat32()
    } else if runtime == .llamaCpp, case .plain(.f64) = target.encoding {
      wish.retype(to: .f32)
    }
    if placement.rowOrder?.isInverse ?? false, transform.foldsAdapters {
      throw ModelError(
        .unsupported, "the adapter changes a tensor whose rows get another order",
        tensor: source.name, hint: foldingHint(runtime))
    }
    try wish.checkGroups(placement.groups)
    wish.checkFactor(placement.ignoredFactor)
    if placement.addend != 0 { try wish.add(placement.addend, for: runtime) }
    if let shape = placement.shape { try wish.reshape(to: shape, for: runtime) }
    return wish
  }

  private mutating func becomeFloat32() throws(ModelError) {
    guard source.isDecodable else {
      throw ModelError(
        .unsupported, "llama.cpp needs the tensor in F32", tensor: source.name,
        found: source.encoding.description)
    }
    switch transform {
    case .copy where source.encoding == .plain(.f32): break
    case .copy, .encode(_, .rows): retype(to: .f32)
    case .encode(_, .groups), .encode(_, .scaled), .regroup, .rearrange, .moveMinima, .omit: break
    }
  }

  /// Adds a number to every number of a target that is not quantized.
  private mutating func add(_ addend: Float, for runtime: Runtime) throws(ModelError) {
    guard !transform.foldsAdapters else {
      throw ModelError(
        .unsupported,
        "the adapter changes a norm, and \(runtime.rawValue) stores it "
          + (addend > 0 ? "plus 1" : "minus 1"), tensor: source.name, hint: foldingHint(runtime))
    }
    guard case .plain(let type) = target.encoding, PlainEncoder(type) != nil else { return }
    if case .copy = transform { retype(to: type) }
    guard case .encode(let edits, let encoder) = transform else { return }
    transform = .encode(edits + [.add(addend)], encoder)
  }

  private mutating func reshape(to shape: Shape, for runtime: Runtime) throws(ModelError) {
    guard !transform.foldsAdapters else {
      throw ModelError(
        .unsupported,
        "the adapter changes a tensor that \(runtime.rawValue) stores in another shape",
        tensor: source.name, expected: shape.description, found: source.shape.description,
        hint: foldingHint(runtime))
    }
    target.shape = shape
  }

  /// What to do about an adapter that changes a tensor in another form.
  private func foldingHint(_ runtime: Runtime) -> String {
    runtime == .transformers
      ? "convert the model without the adapter first, then fold into the result"
      : "fold into a safetensors folder first, then convert the result"
  }

  /// Makes the target plain numbers of a type, and keeps the edits.
  private mutating func retype(to type: ScalarType) {
    var edits: [RowEdit] = []
    if case .encode(let known, _) = transform { edits = known }
    transform = .encode(edits, .plain(type))
    target.encoding = .plain(type)
  }

  // MARK: - Groups

  /// Makes a target of groups, or of codes with scales, plain numbers if the runtime needs these.
  ///
  /// Throws `unsupported` if it must not be quantized.
  private mutating func checkGroups(_ groups: TensorPlacement.Groups) throws(ModelError) {
    guard target.hasParts, let type = target.encoding.decodedType else { return }
    switch groups {
    case .allowed: break
    case .refused(let why):
      throw ModelError(
        .unsupported, "the weight must not be quantized", tensor: source.name, found: why,
        hint: source.hasParts
          ? "--dtype F16 decodes the weights" : "--rule '\(source.name)=keep' leaves it as it is")
    case .plain(let why):
      var edits = transform.offsetMoves.map { RowEdit.adapter($0) }
      if case .encode(let known, _) = transform { edits = known + edits }
      transform = .encode(edits, .plain(type))
      target.encoding = .plain(type)
      reason += ", but \(why)"
    }
  }

  /// Makes blocks with a factor plain numbers if the runtime ignores the factor.
  private mutating func checkFactor(_ ignored: String?) {
    guard let ignored, case .scaled(let codes) = target.encoding, codes.isInBlocks else { return }
    retype(to: codes.decoded)
    reason = ignored
  }

  // MARK: - Stored tensors

  /// The tensors that are stored: one, unless the rows of the target are divided among several.
  ///
  /// It is the whole stack if the target is a matrix of one.
  var storedTargets: [TensorInfo] {
    guard let placement, placement.stack != nil || !placement.otherNames.isEmpty else {
      return [target]
    }
    var extents = target.shape.dimensions
    let count = placement.names.count
    if count > 1 { extents[extents.count - 2] /= count }
    if let stack = placement.stack { extents = [stack.count] + extents }
    guard let shape = Shape(validating: extents) else { return [target] }
    return placement.names.map { TensorInfo(name: $0, shape: shape, encoding: target.encoding) }
  }
}
