public import Bytes
internal import TensorModel
internal import Weights

extension Verification {
  /// The verification as JSON, as described in `formats/report.md`.
  ///
  /// - Parameter model: The model that was checked.
  /// - Returns: An object with the schema `pleat.verify.1`.
  public func json(of model: Model) -> JSONValue {
    var members: [JSONValue.Member] = [
      .init("schema", "pleat.verify.1"),
      .init("path", .string(model.path)),
      .init("holds", .bool(holds)),
      .init("tensorCount", JSONValue(model.catalog.tensors.count)),
      .init("checksumCount", JSONValue(checksumCount)),
      .init("faults", .array(faults.map(\.json))),
    ]
    if let comparisons {
      members.append(.init("tolerance", tolerance.map { .number($0) } ?? .null))
      if let fold { members.append(.init("fold", fold.json)) }
      members.append(.init("mismatches", .array(mismatches.map(\.json))))
      members.append(.init("tensors", .array(comparisons.map(\.json))))
    }
    return .object(members)
  }
}

extension Comparison {
  fileprivate var json: JSONValue {
    var members: [JSONValue.Member] = [
      .init("name", .string(name)), .init("encoding", encoding.json),
      .init("relativeError", .number(relativeError)),
      .init("largestError", .number(largestError)), .init("decibels", .number(decibels)),
    ]
    if let fold {
      members.append(
        .init(
          "fold",
          .object(
            fold.measurement.members + [
              .init("largestErrorInHalfSteps", .number(fold.largestError)),
              .init("proven", .bool(fold.isProven)),
            ])))
    }
    return .object(members)
  }
}

extension ModelError {
  /// The error as JSON, without the fields that are nil.
  public var json: JSONValue {
    let texts = [
      ("kind", kind.rawValue), ("what", what), ("file", file), ("tensor", tensor),
      ("expected", expected), ("found", found), ("hint", hint),
    ]
    var members = texts.compactMap { key, text in
      text.map { JSONValue.Member(key, .string($0)) }
    }
    if let offset { members.append(.init("offset", JSONValue(offset))) }
    return .object(members)
  }
}
