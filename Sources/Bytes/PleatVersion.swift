/// The version of Pleat: of the program, not of a format.
public enum PleatVersion {
  /// Such as `0.1.0`.
  public static let text = "0.1.0"
}
