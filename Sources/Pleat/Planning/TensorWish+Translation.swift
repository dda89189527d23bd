internal import Adapters
package import Formats
package import TensorModel
internal import Weights

extension TensorWish {
  /// The wish under llama.cpp's name, with the row order and the numbers that llama.cpp expects.
  ///
  /// - Parameter placement: The translation of the tensor; nil if it is left out.
  /// - Returns: The wish.
  /// - Throws: `unsupported` if llama.cpp needs a form that the tensor cannot get, or if an adapter
  ///   changes a norm that 1 is added to.
  package func translated(_ placement: GGUFTranslation.Tensor?) throws(ModelError) -> TensorWish {
    var wish = self
    guard let placement else {
      guard !transform.foldsAdapters else {
        throw ModelError(
          .unsupported, "the adapter changes a tensor that llama.cpp has no place for",
          tensor: source.name,
          hint: "fold into a safetensors folder, or remove the tensor from the adapter")
      }
      wish.transform = .omit
      wish.reason = "llama.cpp does not use it"
      return wish
    }
    wish.placement = placement
    wish.target.name = placement.name
    if placement.isFloat32 {
      try wish.becomeFloat32(addingOne: placement.addsOne)
    } else if case .plain(.f64) = target.encoding {
      wish.retype(to: .f32)
    }
    return wish
  }

  private mutating func becomeFloat32(addingOne addsOne: Bool) throws(ModelError) {
    guard source.isDecodable else {
      throw ModelError(
        .unsupported, "llama.cpp needs the tensor in F32", tensor: source.name,
        found: source.encoding.description)
    }
    if addsOne, transform.foldsAdapters {
      throw ModelError(
        .unsupported, "the adapter changes a norm, and GGUF stores this norm plus 1",
        tensor: source.name,
        hint: "fold into a safetensors folder first, then convert the result")
    }
    switch transform {
    case .copy where source.encoding == .plain(.f32) && !addsOne: break
    case .copy, .encode(_, .rows): retype(to: .f32)
    case .encode(_, .groups), .regroup, .omit: return
    }
    guard addsOne, case .encode(let edits, let encoder) = transform else { return }
    transform = .encode(edits + [.addOne], encoder)
  }

  /// Makes the target plain numbers of a type, and keeps the edits.
  private mutating func retype(to type: ScalarType) {
    var edits: [RowEdit] = []
    if case .encode(let known, _) = transform { edits = known }
    transform = .encode(edits, .plain(type))
    target.encoding = .plain(type)
  }

  /// The tensor that is stored: the stack if the target is a matrix of one, otherwise the target.
  var storedTarget: TensorInfo {
    guard let stack = placement?.stack,
      let shape = Shape(validating: [stack.count] + target.shape.dimensions)
    else { return target }
    return TensorInfo(name: target.name, shape: shape, encoding: target.encoding)
  }
}
