"""Records of the user's database: the phone and its surroundings."""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from sea_env.domains.validation import ClosedModel

Signal = Literal["none", "poor", "fair", "good", "excellent"]
Technology = Literal["none", "2G", "3G", "4G", "5G"]


class APNNames(StrEnum):
    INTERNET = "internet"
    BROKEN = "broken"


class NetworkModePreference(StrEnum):
    FOUR_G_5G_PREFERRED = "4g_5g_preferred"
    FOUR_G_ONLY = "4g_only"
    THREE_G_ONLY = "3g_only"
    TWO_G_ONLY = "2g_only"


class APNSettings(ClosedModel):
    """Access point: how the phone reaches the internet, and the server for picture messages."""

    apn_name: APNNames = APNNames.INTERNET
    reset_at_reboot: bool = False
    mms_apn: str | None = "mms"
    mmsc_url: str | None = "http://mms.carrier.com/mms/wapenc"
    mms_proxy: str | None = None
    mms_port: int | None = None


class Vpn(ClosedModel):
    server_address: str | None = None
    protocol: str | None = None
    server_performance: Literal["unknown", "poor", "fair", "good", "excellent"] = "unknown"


class Permissions(ClosedModel):
    sms: bool = False
    storage: bool = False
    phone: bool = False
    network: bool = False


class App(ClosedModel):
    app_name: str
    permissions: Permissions = Permissions()


def _apps() -> dict[str, App]:
    return {
        "messaging": App(
            app_name="messaging", permissions=Permissions(sms=True, storage=True, phone=True)
        ),
        "browser": App(app_name="browser", permissions=Permissions(network=True, storage=True)),
    }


class Phone(ClosedModel):
    sim_card_status: Literal["active", "missing", "locked_pin", "locked_puk"] = "active"
    sim_card_missing: bool = False
    airplane_mode: bool = False
    network_signal_strength: Signal = "good"
    network_technology_connected: Technology = "5G"
    network_connection_status: Literal["connected", "searching", "no_service", "emergency_only"] = (
        "connected"
    )
    battery_level: int = 80
    data_enabled: bool = True
    roaming_enabled: bool = False
    network_mode_preference: NetworkModePreference = NetworkModePreference.FOUR_G_5G_PREFERRED
    active_apn_settings: APNSettings = APNSettings()
    wifi_enabled: bool = False
    wifi_connected: bool = False
    wifi_ssid: str | None = None
    wifi_signal_strength: Signal = "none"
    wifi_calling_enabled: bool = False
    wifi_calling_mms_over_wifi: bool = False
    data_saver_mode: bool = False
    vpn_enabled_setting: bool = False
    vpn_connected: bool = False
    vpn_details: Vpn | None = None
    app_statuses: dict[str, App] = Field(default_factory=_apps)


class PaymentRequest(ClosedModel):
    bill_id: str
    amount_due: float
    paid: bool = False


def _signals() -> dict[Technology, Signal]:
    return {"2G": "poor", "3G": "fair", "4G": "good", "5G": "excellent"}


class Surroundings(ClosedModel):
    name: str | None = None
    phone_number: str | None = None
    is_abroad: bool = False
    roaming_allowed: bool = False
    signal_strength: dict[Technology, Signal] = Field(default_factory=_signals)
    mobile_data_usage_exceeded: bool = False
    line_active: bool = True
    payment_request: PaymentRequest | None = None


class UserTables(ClosedModel):
    """The user's whole database: two records, of which single fields change."""

    device: Phone = Phone()
    surroundings: Surroundings = Surroundings()
